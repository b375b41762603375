"""Writes WebDataset tar shards, the same bytes for the same records."""

import io
import json
import pathlib
import shutil
import tarfile

from corpus.record import Record, split_of, unit_hash

SHARD_RECORDS = 500


def add(shard: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # mtime 0, owner 0, mode 0644
    member.size = len(data)
    shard.addfile(member, io.BytesIO(data))


def write_shard(path: pathlib.Path, records: list[tuple[str, Record, bytes]], target: dict[str, int] | None) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as shard:
        for key, record, jpeg in records:
            origin = {"source": record.source, "name": record.name}
            add(shard, f"{key}.jpg", jpeg)
            if target is None:
                add(shard, f"{key}.txt", record.caption.encode())
            else:
                add(shard, f"{key}.cls", str(target[record.class_name]).encode())
            add(shard, f"{key}.json", json.dumps(origin).encode())


def write_corpus(folder: pathlib.Path, records: list[tuple[Record, bytes]], labelled: bool) -> dict[str, int]:
    """Writes {train,val}-###.tar (records mixed by hash) and, for labelled ones, classes.txt; {split: records}.

    The folder is replaced as a whole: it is there complete or not at all.
    """
    scratch = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    records = sorted(records, key=lambda pair: unit_hash("order:" + pair[0].name))
    keyed = [(f"{folder.name}-{i:05d}", record, jpeg) for i, (record, jpeg) in enumerate(records)]
    target = None
    if labelled:
        names = sorted({record.class_name for record, _ in records})
        target = {name: i for i, name in enumerate(names)}
        (scratch / "classes.txt").write_text("".join(name + "\n" for name in names))
    counts = {}
    for split in ("train", "val"):
        rows = [row for row in keyed if split_of(row[1]) == split]
        counts[split] = len(rows)
        for i in range(0, len(rows), SHARD_RECORDS):
            write_shard(scratch / f"{split}-{i // SHARD_RECORDS:03d}.tar", rows[i:i + SHARD_RECORDS], target)
    shutil.rmtree(folder, ignore_errors=True)
    scratch.rename(folder)
    return counts
