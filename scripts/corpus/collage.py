"""A corpus whose objects are known: scenes of 2 to 5 clip-art pictures, captions that name each once and say where.

A class is that of the picture's folder, as in clipart-label. Pictures that clip art holds out appear in val alone, so
train and val share none. Boxes and the bytes of the captions that name them go to COCO JSON beside the shards and not
into them: evaluators read them, training does not. Scene i of a split depends on the seed, the split, i, the size and
the pictures, so a smaller corpus is the beginning of a larger one.
"""

import collections
import concurrent.futures
import dataclasses
import functools
import hashlib
import io
import json
import pathlib
import shutil
import tarfile

import numpy as np
from PIL import Image

from corpus import cutout, nouns, phrases, places, scene
from corpus.draws import Draws
from corpus.record import Record, split_of
from corpus.shards import SHARD_RECORDS, add

TABLE = pathlib.Path(__file__).with_name("nouns.txt")
SPLITS = ("train", "val")
QUALITY = 92
COLOURLESS = {"person", "body part"}  # the colour of a line drawing reads as that of a skin
MOST_ATTEMPTS = 1000  # of one scene; about 2 are usual


class CollageError(RuntimeError):
    pass


@dataclasses.dataclass
class Picture:
    name: str  # of the record
    class_name: str
    named: phrases.Named
    rgba: np.ndarray  # bytes [height, width, 4]


@dataclasses.dataclass
class Object:
    name: str  # of its picture
    class_name: str
    placed: scene.Placed
    phrase: str
    span: tuple[int, int]  # [begin, end) of the phrase in bytes of the caption


@dataclasses.dataclass
class Example:
    jpeg: bytes
    caption: str
    objects: list[Object]


@dataclasses.dataclass
class Wanted:
    count: int  # training scenes; a tenth as many are held out
    size: int  # side in pixels
    seed: int

    def records(self, split: str) -> int:
        return self.count if split == "train" else max(1, self.count // 10)


class Stock:
    """Pictures to draw from: classes, then nouns of a class by the square root of their pictures."""

    def __init__(self, pictures: list[Picture]):
        tree = collections.defaultdict(lambda: collections.defaultdict(list))
        for picture in pictures:
            tree[picture.class_name][picture.named.kinds[0]].append(picture)
        self.classes = [[by_noun[noun] for noun in sorted(by_noun)] for _, by_noun in sorted(tree.items())]
        self.of_class = np.cumsum([np.sqrt(sum(map(len, groups))) for groups in self.classes])
        self.of_noun = [np.cumsum([np.sqrt(len(group)) for group in groups]) for groups in self.classes]

    def draw(self, draws: Draws) -> Picture:
        i = draws.weighted(self.of_class)
        return draws.pick(self.classes[i][draws.weighted(self.of_noun[i])])


def cut_out(record: Record, noun: str) -> cutout.Cutout | None:
    return cutout.cut(record.picture, noun)


def read_pictures(records: list[Record], table: nouns.Nouns) -> dict[str, list[Picture]]:
    """Of each split. Of pixel-identical pictures the first by name stays, whichever split it is in."""
    named = [(record, noun) for record in records if (noun := table.of(record))]
    with concurrent.futures.ProcessPoolExecutor() as pool:
        cuts = list(pool.map(cut_out, *zip(*named), chunksize=16))
    stock, seen = {split: [] for split in SPLITS}, set()
    for (record, noun), cut in zip(named, cuts):
        if cut is None:
            continue
        pixels = hashlib.sha256(repr(cut.rgba.shape).encode() + cut.rgba.tobytes()).digest()
        if pixels not in seen:
            seen.add(pixels)
            kinds = table.kinds(noun)
            known = phrases.Named(kinds, "" if COLOURLESS.intersection(kinds) else cut.colour)
            stock[split_of(record)].append(Picture(record.name, record.class_name, known, cut.rgba))
    return stock


def attempt(draws: Draws, stock: Stock, size: int) -> Example | None:
    pictures = [stock.draw(draws) for _ in range(draws.between(2, 5))]
    if len({picture.name for picture in pictures}) < len(pictures):
        return None
    names = phrases.name(draws, [picture.named for picture in pictures])
    drawn = scene.draw(draws, [picture.rgba for picture in pictures], size) if names else None
    if drawn is None:
        return None
    texts = [name.text() for name in names]
    caption = places.describe(draws, texts, [thing.box for thing in drawn.things])
    if caption is None:
        return None
    stream = io.BytesIO()
    Image.fromarray(drawn.pixels).save(stream, "JPEG", quality=QUALITY, subsampling=0)
    objects = [Object(picture.name, picture.class_name, *known)
               for picture, *known in zip(pictures, drawn.things, texts, caption.spans)]
    return Example(stream.getvalue(), caption.text, objects)


def example(stock: Stock, wanted: Wanted, split: str, index: int) -> Example:
    """Scene `index` of a split."""
    draws = Draws(f"collage:{wanted.seed}:{split}:{index}")
    for _ in range(MOST_ATTEMPTS):
        if found := attempt(draws, stock, wanted.size):
            return found
    raise CollageError(f"scene {index} of {split}: no arrangement in {MOST_ATTEMPTS} attempts; expected one in about "
                       "2; give the clip art more pictures, or --size a larger side")


def key_of(split: str, index: int) -> str:
    return f"collage-{split}-{index:05d}"


def coco(split: str, examples: list[Example], wanted: Wanted, classes: list[str]) -> dict:
    """Images, annotations and categories are numbered from 1; category i is line i of classes.txt."""
    number = {name: i for i, name in enumerate(classes, 1)}
    images, annotations = [], []
    for i, found in enumerate(examples, 1):
        images.append({"id": i, "file_name": key_of(split, i - 1) + ".jpg", "width": wanted.size, "height": wanted.size,
                       "caption": found.caption})
        for thing in found.objects:
            annotations.append({"id": len(annotations) + 1, "image_id": i, "category_id": number[thing.class_name],
                                "bbox": list(thing.placed.box), "area": thing.placed.area, "iscrowd": 0,
                                "tokens_positive": [list(thing.span)]})
    categories = [{"id": i, "name": name} for name, i in number.items()]
    return {"images": images, "categories": categories, "annotations": annotations}


_stock: Stock | None = None  # of a worker process, which all its scenes share


def start_worker(pictures: list[Picture]) -> None:
    global _stock
    _stock = Stock(pictures)


def work(wanted: Wanted, split: str, index: int) -> Example:
    return example(_stock, wanted, split, index)


def write_split(folder: pathlib.Path, split: str, pictures: list[Picture], wanted: Wanted,
                classes: list[str]) -> list[Example]:
    """{split}-###.tar in the order of {split}.coco.json."""
    with concurrent.futures.ProcessPoolExecutor(initializer=start_worker, initargs=(pictures,)) as pool:
        examples = list(pool.map(functools.partial(work, wanted, split), range(wanted.records(split)), chunksize=50))
    for first in range(0, len(examples), SHARD_RECORDS):
        path = folder / f"{split}-{first // SHARD_RECORDS:03d}.tar"
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as shard:
            for i, found in enumerate(examples[first:first + SHARD_RECORDS], first):
                add(shard, key_of(split, i) + ".jpg", found.jpeg)
                add(shard, key_of(split, i) + ".txt", found.caption.encode())
    (folder / f"{split}.coco.json").write_text(json.dumps(coco(split, examples, wanted, classes)) + "\n")
    return examples


def write(folder: pathlib.Path, records: list[Record], wanted: Wanted) -> dict:
    """Writes the corpus from the records of clip art; what is in it.

    The folder is replaced as a whole: it is there complete or not at all.
    """
    stock = read_pictures(records, nouns.read(TABLE))
    for split in SPLITS:
        if len(stock[split]) < 5:
            raise CollageError(f"{split}: {len(stock[split])} pictures of clip art can be used, expected at least 5")
    classes = sorted({picture.class_name for picture in stock["train"]})
    stock["val"] = [picture for picture in stock["val"] if picture.class_name in classes]
    scratch = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    (scratch / "classes.txt").write_text("".join(name + "\n" for name in classes))
    summary = {"classes": len(classes), "splits": {}}
    for split in SPLITS:
        examples = write_split(scratch, split, stock[split], wanted, classes)
        counted = sum(len(found.objects) for found in examples)
        summary["splits"][split] = {"scenes": len(examples), "objects": counted, "pictures": len(stock[split])}
    shutil.rmtree(folder, ignore_errors=True)
    scratch.rename(folder)
    return summary
