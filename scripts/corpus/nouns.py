"""A noun for what a picture of clip art shows, by the table nouns.txt, and the kinds that it belongs to."""

import dataclasses
import pathlib
import re

from corpus.record import Record

WORD = re.compile(r"[^\W\d_]+\d*|\d+")


class NounError(RuntimeError):
    pass


@dataclasses.dataclass
class Line:
    noun: str  # "" = pictures that are left out
    patterns: tuple[str, ...]

    def fits(self, words: set[str]) -> bool:
        return any(words.issuperset(pattern.split("+")) for pattern in self.patterns)


@dataclasses.dataclass
class Nouns:
    lines: dict[str, list[Line]]  # of each class, in order
    parents: dict[str, tuple[str, ...]]

    def kinds(self, noun: str) -> tuple[str, ...]:
        """The noun, then all that it is a kind of: ('duck', 'bird', 'animal')."""
        found = [noun]
        for kind in found:
            found += [parent for parent in self.parents.get(kind, ()) if parent not in found]
        return tuple(found)

    def of(self, record: Record) -> str:
        """'' where no line of the record's class fits, or one that leaves the picture out."""
        title, _, keywords = record.caption.partition(",")
        words = words_of(record.name.rsplit("/", 1)[-1]) | words_of(title)
        folders = {folder + "/" for folder in record.name.split("/")[:-1]}
        known = words | folders | {"~" + word for word in words | words_of(keywords)}
        return next((line.noun for line in self.lines.get(record.class_name, ()) if line.fits(known)), "")


def words_of(text: str) -> set[str]:
    """In lower case, with and without a number at the end: 'Bus2' gives 'bus2' and 'bus'."""
    words = WORD.findall(text.lower().replace("_", " "))
    return set(words) | {word.rstrip("0123456789") for word in words}


def read(path: pathlib.Path) -> Nouns:
    nouns, home, section = Nouns({}, {}), {}, ""
    for number, raw in enumerate(path.read_text().splitlines(), 1):
        text, where = raw.split("#")[0].strip(), f"{path.name}, line {number}"
        if text.startswith("["):
            section = text.strip("[]")
            nouns.lines[section] = []
        elif text:
            head, colon, patterns = text.partition(":")
            if not (section and colon):
                raise NounError(f"{where}: got '{text}', expected '[CLASS]' or 'NOUN < KINDS: PATTERNS' below one")
            noun, _, kinds = (part.strip() for part in head.partition("<"))
            noun = "" if noun == "-" else noun
            if noun and home.setdefault(noun, section) != section:
                raise NounError(f"{where}: '{noun}' stands under [{home[noun]}] too; a noun has one class")
            parents = tuple(kind.strip() for kind in kinds.split(",") if kind.strip())
            nouns.parents[noun] = nouns.parents.get(noun, ()) + parents
            nouns.lines[section].append(Line(noun, tuple(patterns.split())))
    missing = {kind for parents in nouns.parents.values() for kind in parents} - home.keys()
    if missing:
        raise NounError(f"{path.name}: no line for the kinds {', '.join(sorted(missing))}; add 'KIND:' under a class")
    return nouns
