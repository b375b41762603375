"""The code behind scripts/corpora collage: nouns, cut-outs, scenes, words for places, a small corpus."""

import dataclasses
import io
import json
import pathlib
import re
import sys
import tarfile
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts"))
import numpy as np
from PIL import Image, ImageDraw

from corpus import collage, cutout, nouns, phrases, places, scene
from corpus.draws import Draws
from corpus.record import Record, split_of

TABLE = nouns.read(collage.TABLE)


def table_of(text: str) -> nouns.Nouns:
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "nouns.txt"
        path.write_text(text)
        return nouns.read(path)


def record(name: str, caption: str = "", picture=b"") -> Record:
    return Record("s", name, picture, caption or name.rsplit("/", 1)[-1], name.split("/")[0], name)


class TheNouns(unittest.TestCase):
    def test_first_line_that_fits(self):
        table = table_of("[animals]\n-: two\nduck < bird: duck\nbird < animal: birds/ ~wing\nanimal:\n"
                         "owl: night+bird\n[tools]\nsaw: saw  # a comment\n")
        for name, caption, noun in (
            ("animals/duck_01", "", "duck"), ("animals/Duck7", "", "duck"), ("animals/x", "A Duck, pond", "duck"),
            ("animals/x", "A thing, duck", ""), ("animals/x", "A thing, wing", "bird"), ("animals/birds/x", "", "bird"),
            ("animals/birds/duck", "", "duck"), ("animals/two_ducks", "Duck", ""), ("animals/night_bird", "", "owl"),
            ("animals/night", "", ""), ("tools/duck", "", ""), ("x/saw", "", ""),
        ):
            with self.subTest(name=name, caption=caption):
                self.assertEqual(table.of(record(name, caption)), noun)
        self.assertEqual(table.kinds("duck"), ("duck", "bird", "animal"))

    def test_a_wrong_table_is_refused(self):
        for text, says in (("[a]\nx: x\n[b]\nx: y\n", "one class"), ("[a]\nduck < bird: duck\n", "kinds bird"),
                           ("[a]\nduck\n", "line 2"), ("x: x\n", "line 1")):
            with self.assertRaisesRegex(nouns.NounError, says):
                table_of(text)

    def test_nouns_read_as_nouns(self):
        for noun in filter(None, TABLE.parents):
            self.assertRegex(noun, r"^[a-z]+( [a-z]+){0,2}$")


def shape(colour: tuple, ground=(0, 0, 0, 0), side: int = 96, outline=None) -> Image.Image:
    image = Image.new("RGBA", (side, side), ground)
    ImageDraw.Draw(image).ellipse((8, 8, side - 9, side - 9), colour, outline, 4 if outline else 1)
    return image


def cut(image: Image.Image, noun: str = "ball") -> cutout.Cutout | None:
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "a.png"
        image.save(path)
        return cutout.cut(path, noun)


class CutOuts(unittest.TestCase):
    def test_colours(self):
        for name, rgb in (("red", (210, 20, 20)), ("green", (30, 150, 40)), ("blue", (30, 60, 220)),
                          ("yellow", (250, 220, 40)), ("orange", (250, 140, 20)), ("brown", (120, 70, 30)),
                          ("purple", (120, 40, 160)), ("pink", (250, 150, 190)), ("white", (250, 250, 250)),
                          ("grey", (140, 140, 140)), ("black", (10, 10, 10)), ("", (20, 160, 160)),
                          ("", (240, 200, 170))):
            with self.subTest(rgb=rgb):
                self.assertEqual(cut(shape((*rgb, 255))).colour, name)
        self.assertEqual(cut(shape((210, 20, 20, 255), outline=(0, 0, 0, 255))).colour, "red")
        halves = shape((210, 20, 20, 255))
        halves.paste(shape((30, 60, 220, 255)).crop((48, 0, 96, 96)), (48, 0))
        self.assertEqual(cut(halves).colour, "")
        halves.paste(shape((10, 10, 10, 255)).crop((0, 0, 48, 96)), (0, 0))
        self.assertEqual(cut(halves).colour, "")  # half is more than an outline

    def test_cropped_to_what_is_drawn_and_without_halo(self):
        big = Image.new("RGBA", (3000, 2100))  # large enough to be averaged in strips
        big.paste(shape((210, 20, 20, 255), side=1900), (300, 50))
        rgba = cut(big).rgba
        self.assertEqual(rgba.shape[:2], (cutout.LONG_SIDE, cutout.LONG_SIDE))
        # Transparent pixels are black and would darken the edge.
        self.assertGreater(scene_of_one(rgba)[..., 0].min(), 207)
        black_edge = np.where(rgba[..., 3:] < 255, rgba * np.array([0, 0, 0, 1], np.uint8), rgba)
        self.assertLess(scene_of_one(black_edge)[..., 0].min(), 190)

    def test_what_is_no_cutout(self):
        ground = (200, 200, 255, 255)
        ring = Image.new("RGBA", (96, 96))
        ImageDraw.Draw(ring).ellipse((2, 2, 93, 93), None, (0, 0, 0, 255), 3)
        tiny, empty = shape((210, 20, 20, 255), side=30), Image.new("RGBA", (96, 96))
        for image in (shape((210, 20, 20, 255), ground), empty, tiny, ring):
            self.assertIsNone(cut(image))
        self.assertIsNotNone(cut(shape((210, 20, 20, 255), ground), "flag"))


def scene_of_one(rgba: np.ndarray) -> np.ndarray:
    """Blended into a ground of its own colour, at a third of its size."""
    canvas = np.zeros((128, 128, 3)) + (210, 20, 20)
    scene.paste(canvas, rgba, (3, 5, 80, 80))
    return canvas


class Scenes(unittest.TestCase):
    def test_boxes_and_shares_are_those_of_the_pixels(self):
        """Opaque rectangles of one colour each: counting their pixels says all."""
        colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 0, 255), (0, 255, 255)]
        sizes = [(60, 90), (90, 50), (80, 80), (70, 100), (100, 60)]
        found = hidden = 0
        for key in range(300):
            draws = Draws(f"scene {key}")
            count = draws.between(2, 5)
            pictures = [np.full((*size, 4), (*colour, 255), np.uint8) for size, colour in zip(sizes[:count], colours)]
            drawn = scene.draw(draws, pictures, 128)
            if drawn is None:
                continue
            found += 1
            for colour, thing, (height, width) in zip(colours, drawn.things, sizes):
                rows, columns = np.nonzero((drawn.pixels == colour).all(2))
                self.assertEqual(thing.box, (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1))
                self.assertEqual(thing.area, len(rows))
                self.assertGreaterEqual(thing.visible, 0.75)
                self.assertLessEqual(thing.visible, 1)
                hidden += thing.visible < 1
                whole = thing.area / thing.visible  # one side follows from the other
                longest = max(height, width) * (whole / (height * width)) ** 0.5 / 128
                least, most = scene.LONG_SIDES[count]
                self.assertTrue(least / 100 - 0.03 < longest < most / 100 + 0.03)
        self.assertGreater(found, 60)
        self.assertGreater(hidden, 15)

    def test_what_looks_like_the_ground_is_refused(self):
        for key in range(100):
            under = scene.ground(Draws(f"ground {key}"), 128)
            like = np.dstack([under[:96, :96], np.full((96, 96), 255, np.uint8)])
            self.assertIsNone(scene.draw(Draws(f"ground {key}"), [like, like], 128))


def is_true(word: str, a: list[int], b: list[int]) -> bool:
    """Whether 'a WORD b', written again from corners and centres."""
    (al, at, ar, ab), (bl, bt, br, bb) = ((x, y, x + w, y + h) for x, y, w, h in (a, b))
    dx, dy = (bl + br - al - ar) / 2, (bt + bb - at - ab) / 2
    if word in ("right of", "below"):
        return is_true({"right of": "left of", "below": "above"}[word], b, a)
    if word == "left of":
        return ar - bl <= 0.15 * min(a[2], b[2]) and dx > 0 and dx >= abs(dy)
    if word == "above":
        return ab - bt <= 0.15 * min(a[3], b[3]) and dy > 0 and dy >= abs(dx)
    level = min(ab, bb) - max(at, bt) >= min(a[3], b[3]) / 2
    close = max(bl - ar, al - br) <= min(a[2], b[2]) / 2
    return word == "beside" and level and close and (is_true("left of", a, b) or is_true("left of", b, a))


class Places(unittest.TestCase):
    def test_words_against_corners(self):
        draws, counts = Draws("places"), dict.fromkeys(("left of", "right of", "above", "below", "beside"), 0)
        for _ in range(4000):
            a, b = ([draws.below(90), draws.below(90), draws.between(4, 38), draws.between(4, 38)] for _ in range(2))
            words = places.words(a, b)
            self.assertEqual(set(words), {word for word in counts if is_true(word, a, b)})
            for word in words:
                counts[word] += 1
        self.assertGreater(min(counts.values()), 50)

    def test_spans_are_bytes(self):
        for key in "abcdefgh":
            caption = places.describe(Draws(key), ["a café", "a dog"], [(0, 0, 9, 9), (40, 0, 9, 9)])
            self.assertEqual([caption.text.encode()[b:e].decode() for b, e in caption.spans], ["a café", "a dog"])


class Phrases(unittest.TestCase):
    def test_each_means_one_thing(self):
        duck, red_duck, green_duck = (phrases.Named(("duck", "bird"), colour) for colour in ("", "red", "green"))
        bird = phrases.Named(("bird",), "blue")
        self.assertIsNone(phrases.name(Draws("1"), [duck, duck]))
        self.assertIsNone(phrases.name(Draws("1"), [duck, red_duck]))
        for key in range(50):
            named = phrases.name(Draws(f"{key}"), [red_duck, green_duck])
            if named is not None:
                self.assertEqual([phrase.colour for phrase in named], ["red", "green"])
            for phrase in phrases.name(Draws(f"{key}"), [duck, bird]) or []:
                self.assertNotEqual(phrase, phrases.Phrase("bird", ""))

    def test_articles(self):
        for noun, colour, text in (("owl", "", "an owl"), ("owl", "red", "a red owl"),
                                   ("dog", "orange", "an orange dog"),
                                   ("umbrella", "", "an umbrella"), ("hourglass", "", "an hourglass"),
                                   ("hat", "", "a hat")):
            self.assertEqual(phrases.Phrase(noun, colour).text(), text)


PHRASE = re.compile(r"an? [a-z]+( [a-z]+){0,3}")
JOINT = re.compile(r"( and)?(?: (left of|right of|above|below|beside))? ")


def caption_faults(caption: str, annotations: list[dict]) -> list[str]:
    """That every object is named once, by another phrase than the others, and that the words between are true."""
    text, faults = caption.encode(), []
    ordered = sorted(annotations, key=lambda a: a["tokens_positive"])
    spans = [a["tokens_positive"][0] for a in ordered]
    named = [text[begin:end].decode() for begin, end in spans]
    faults += [f"no noun phrase: '{phrase}'" for phrase in named if not PHRASE.fullmatch(phrase)]
    if len(set(named)) < len(named):
        faults.append("one phrase twice")
    if not spans or spans[0][0] != 0 or spans[-1][1] != len(text):
        return faults + ["words before or after the phrases"]
    head = word = None
    for i, annotation in enumerate(ordered):
        joint = text[spans[i - 1][1]:spans[i][0]].decode() if i else ", and "
        if joint == ", and ":
            head, word = annotation, None
            continue
        match = JOINT.fullmatch(joint)
        if not match or not (match[2] or word):
            return faults + [f"between phrases stands '{joint}'"]
        word = match[2] or word
        if not is_true(word, head["bbox"], annotation["bbox"]):
            faults.append(f"not true: '{word}' of {head['bbox']} and {annotation['bbox']}")
    return faults


def faults(sidecar: dict, files: dict[str, bytes]) -> list[str]:
    """What is wrong with a sidecar and the members of its shards, in their order."""
    found, of_image = [], {image["id"]: [] for image in sidecar["images"]}
    categories = {category["id"] for category in sidecar["categories"]}
    for annotation in sidecar["annotations"]:
        of_image[annotation["image_id"]].append(annotation)
    names = [name for image in sidecar["images"] for name in (image["file_name"], image["file_name"][:-4] + ".txt")]
    if names != list(files):
        found.append("shards and sidecar differ in records or order")
    for image in sidecar["images"]:
        annotations, where = of_image[image["id"]], image["file_name"]
        if Image.open(io.BytesIO(files[where])).size != (image["width"], image["height"]):
            found.append(f"{where}: another size")
        if files[where[:-4] + ".txt"].decode() != image["caption"]:
            found.append(f"{where}: another caption")
        if not 2 <= len(annotations) <= 5:
            found.append(f"{where}: {len(annotations)} objects")
        for annotation in annotations:
            x, y, width, height = annotation["bbox"]
            if min(x, y) < 0 or min(width, height) < 1 or x + width > image["width"] or y + height > image["height"]:
                found.append(f"{where}: box outside")
            if not 0 < annotation["area"] <= width * height or annotation["iscrowd"] != 0:
                found.append(f"{where}: area or crowd")
            if annotation["category_id"] not in categories:
                found.append(f"{where}: category")
        found += [f"{where}: {fault}" for fault in caption_faults(image["caption"], annotations)]
    ids = [annotation["id"] for annotation in sidecar["annotations"]]
    return found + (["numbers of annotations"] if ids != list(range(1, len(ids) + 1)) else [])


def members(folder: pathlib.Path, split: str) -> dict[str, bytes]:
    files = {}
    for path in sorted(folder.glob(f"{split}-*.tar")):
        with tarfile.open(path) as shard:
            files.update({m.name: shard.extractfile(m).read() for m in shard})
    return files


def drawings(folder: pathlib.Path) -> list[Record]:
    """Discs of several colours in the names of animals, tools and food, about a tenth of them held out."""
    records, colours = [], ((210, 20, 20), (30, 150, 40), (30, 60, 220), (250, 220, 40), (120, 40, 160), (20, 20, 20),
                            (20, 160, 160), (250, 140, 20))
    for name in ("animals/dog", "animals/bee", "animals/birds/duck", "tools/saw", "tools/axe", "food/apple",
                 "food/cake"):
        for i, colour in enumerate(colours):
            path = folder / f"{name.replace('/', '-')}_{i}.png"
            shape((*colour, 255), side=64 + len(records)).save(path)
            records.append(record(f"{name}_{i}", picture=path))
    return records


class Corpus(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temp = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.temp.name)
        cls.records = drawings(cls.folder)
        cls.wanted = collage.Wanted(40, 96, 1)
        cls.summary = collage.write(cls.folder / "collage", cls.records, cls.wanted)

    @classmethod
    def tearDownClass(cls):
        cls.temp.cleanup()

    def read(self, split: str, name: str = "collage") -> tuple[dict, dict[str, bytes]]:
        return json.loads((self.folder / name / f"{split}.coco.json").read_text()), members(self.folder / name, split)

    def test_nothing_is_wrong_with_it(self):
        for split, count in (("train", 40), ("val", 4)):
            sidecar, files = self.read(split)
            self.assertEqual(faults(sidecar, files), [])
            self.assertEqual(len(sidecar["images"]), count)
            self.assertEqual(self.summary["splits"][split]["objects"], len(sidecar["annotations"]))
            self.assertEqual([c["name"] for c in sidecar["categories"]], ["animals", "food", "tools"])
            self.assertEqual((self.folder / "collage/classes.txt").read_text(), "animals\nfood\ntools\n")

    def test_the_check_finds_faults(self):
        def change(kind: str, sidecar: dict, files: dict[str, bytes]) -> None:
            image, first, second = sidecar["images"][0], *sidecar["annotations"][:2]
            if kind == "box":
                first["bbox"][0] += 96
            elif kind == "span":
                first["tokens_positive"][0][1] -= 1
            elif kind == "swapped boxes":
                first["bbox"], second["bbox"] = second["bbox"], first["bbox"]
            elif kind == "same phrase":
                second["tokens_positive"] = first["tokens_positive"]
            elif kind == "order":
                sidecar["images"].reverse()
            elif kind == "caption":
                image["caption"] += " and a dog"
            elif kind == "unnamed object":
                del sidecar["annotations"][0]
            elif kind == "category":
                first["category_id"] = 9
            else:
                files[image["file_name"]] = jpeg_of(64)

        for kind in ("box", "span", "swapped boxes", "same phrase", "order", "caption", "unnamed object", "category",
                     "size"):
            sidecar, files = self.read("train")
            change(kind, sidecar, files)
            self.assertNotEqual(faults(sidecar, files), [], kind)

    def test_train_and_val_share_no_picture(self):
        stock = collage.read_pictures(self.records, TABLE)
        side = {r.name: split_of(r) for r in self.records}
        used = {}
        for split in collage.SPLITS:
            known = collage.Stock(stock[split])
            scenes = [collage.example(known, self.wanted, split, i) for i in range(40)]
            used[split] = {thing.name for found in scenes for thing in found.objects}
            self.assertEqual({side[name] for name in used[split]}, {split})
        self.assertFalse(used["train"] & used["val"])

    def test_identical_pictures_are_on_one_side_only(self):
        twins = [dataclasses.replace(self.records[0], name=f"animals/dog_twin_{i}", group=f"{i}") for i in range(60)]
        self.assertEqual({split_of(twin) for twin in twins}, {"train", "val"})
        self.assertEqual(sum(map(len, collage.read_pictures(twins, TABLE).values())), 1)

    def test_people_have_no_colour(self):
        people = [dataclasses.replace(self.records[0], name="people/woman_1", class_name="people", caption="woman")]
        for records, colour in ((people, ""), (self.records[:1], "red")):
            read = collage.read_pictures(records, TABLE)
            self.assertEqual([picture.named.colour for part in read.values() for picture in part], [colour])

    def test_same_bytes_for_the_same_seed_and_a_smaller_one_is_the_beginning(self):
        collage.write(self.folder / "again", self.records, self.wanted)
        for path in sorted((self.folder / "collage").iterdir()):
            self.assertEqual(path.read_bytes(), (self.folder / "again" / path.name).read_bytes(), path.name)
        collage.write(self.folder / "small", self.records, collage.Wanted(10, 96, 1))
        collage.write(self.folder / "other", self.records, collage.Wanted(10, 96, 2))
        whole, small, other = (list(self.read("train", name)[1].items()) for name in ("collage", "small", "other"))
        self.assertEqual(small, whole[:20])
        self.assertEqual([name for name, _ in other], [name for name, _ in small])
        self.assertNotEqual(other[0], small[0])

    def test_classes_are_drawn_by_the_root_of_their_pictures(self):
        kinds = (("a", "x", 16), ("b", "y", 3), ("b", "z", 1))
        stock = collage.Stock([collage.Picture(f"{noun}{i}", class_name, phrases.Named((noun,), ""), None)
                               for class_name, noun, count in kinds for i in range(count)])
        draws, count = Draws("stock"), 6000
        drawn = [stock.draw(draws) for _ in range(count)]
        self.assertAlmostEqual(sum(p.class_name == "a" for p in drawn) / count, 4 / 6, delta=0.02)
        self.assertAlmostEqual(sum(p.name == "z0" for p in drawn) / count, 2 / 6 / (1 + 3 ** 0.5), delta=0.02)

    def test_too_few_pictures_are_refused(self):
        with self.assertRaisesRegex(collage.CollageError, "expected at least 5"):
            collage.write(self.folder / "few", self.records[:3], self.wanted)
        self.assertFalse((self.folder / "few").exists())


def jpeg_of(side: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (side, side)).save(stream, "JPEG")
    return stream.getvalue()


if __name__ == "__main__":
    unittest.main()
