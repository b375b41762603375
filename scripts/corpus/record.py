"""One picture with what is known about it, and the split that both example corpora share."""

import dataclasses
import hashlib
import pathlib

VAL_SHARE = 0.1


@dataclasses.dataclass
class Record:
    source: str  # Debian package the picture comes from
    name: str  # its path there without suffix, or its code points: unique in the source, and the order of the output
    picture: bytes | pathlib.Path  # encoded picture, or the file that holds it
    caption: str
    class_name: str  # "" = the record has none
    group: str  # records of equal group fall on the same side of the split


def unit_hash(text: str) -> float:
    """A number in [0, 1) that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def split_of(record: Record) -> str:
    return "val" if unit_hash("split:" + record.group) < VAL_SHARE else "train"
