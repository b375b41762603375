"""The code behind scripts/corpora: captions, the split, pictures on white, the same bytes twice."""

import io
import pathlib
import sys
import tarfile
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts"))
from PIL import Image

from corpus import clipart, emoji, photos, picture, shards
from corpus.record import Record, split_of


def png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


class Captions(unittest.TestCase):
    def test_title_then_keywords_without_repeats(self):
        self.assertEqual(clipart.caption_of("a/duck_01", "Grey Duck", ["bird", "grey duck", "Bird"], False), "Grey Duck, bird")

    def test_missing_title_gives_file_words(self):
        self.assertEqual(clipart.caption_of("birds/grey-duck_02", "", ["bird"], False), "grey duck, bird")

    def test_shared_title_gives_file_words_and_stays_a_keyword(self):
        self.assertEqual(clipart.caption_of("x/grey_duck", "Farm birds", [], True), "grey duck, Farm birds")
        self.assertEqual(clipart.caption_of("x/grey_duck", "Part of the Icon Collection", ["bird"], True), "grey duck, bird")

    def test_rdf(self):
        text = ('<cc:Work rdf:about=""><dc:title>Clipart by Ann - Red &amp; big_star</dc:title><dc:subject><rdf:Bag><rdf:li>stars</rdf:li>'
                "<rdf:li>HASH(0x9c6e8a4)</rdf:li><rdf:li>Ann</rdf:li></rdf:Bag></dc:subject>"
                "<dc:creator><cc:Agent><dc:title>Ann</dc:title></cc:Agent></dc:creator></cc:Work>")
        with tempfile.TemporaryDirectory() as folder:
            svg = pathlib.Path(folder) / "a.svg"
            svg.write_text(text)
            self.assertEqual(clipart.read_rdf(svg), ("Red & big star", ["stars"]))

    def test_skin_tones_are_taken_out_of_names(self):
        for name, plain in (("waving hand: light skin tone", "waving hand"), ("person: medium-dark skin tone, red hair", "person: red hair"),
                            ("flag: France", "flag: France"), ("kiss: woman, man, dark skin tone, light skin tone", "kiss: woman, man")):
            self.assertEqual(emoji.without_skin_tone(name), plain)


class Split(unittest.TestCase):
    def test_depends_on_the_group_alone_and_holds_out_a_tenth(self):
        records = [Record("s", f"{i}", b"", "caption", "", f"group {i // 2}") for i in range(20_000)]
        sides = [split_of(record) for record in records]
        self.assertEqual(sides[0::2], sides[1::2])
        self.assertAlmostEqual(sides.count("val") / len(sides), 0.1, delta=0.01)


class Pictures(unittest.TestCase):
    def test_transparent_becomes_white_and_long_side_256(self):
        image = Image.new("RGBA", (1024, 512), (255, 0, 0, 0))
        image.paste((0, 0, 255, 255), (0, 0, 512, 512))
        rendered = picture.render(png(image))
        result = Image.open(io.BytesIO(rendered.jpeg))
        self.assertEqual(result.size, (256, 128))
        self.assertGreater(min(result.getpixel((220, 64))), 250)
        self.assertGreater(result.getpixel((30, 64))[2], 250)
        self.assertFalse(rendered.blank)

    def test_strips_of_a_huge_picture_fit_together(self):
        gradient = Image.linear_gradient("L").resize((3000, 4500)).convert("RGB")
        whole = gradient.resize((171, 256), Image.Resampling.LANCZOS)
        rendered = Image.open(io.BytesIO(picture.render(png(gradient)).jpeg))
        self.assertEqual(rendered.size, whole.size)
        for y in range(256):
            self.assertAlmostEqual(rendered.getpixel((80, y))[0], whole.getpixel((80, y))[0], delta=3)

    def test_one_colour_is_blank(self):
        self.assertTrue(picture.render(png(Image.new("RGBA", (9, 9), (0, 0, 0, 0)))).blank)

    def test_small_pictures_stay_as_they_are(self):
        self.assertEqual(Image.open(io.BytesIO(picture.render(png(Image.new("RGB", (31, 7)))).jpeg)).size, (31, 7))


class Shards(unittest.TestCase):
    def write(self, folder: pathlib.Path, labelled: bool) -> dict[str, bytes]:
        records = [(Record("s", f"n{i}", b"", f"caption {i}", f"class {i % 3}", f"caption {i}"), b"jpeg") for i in range(1200)]
        self.counts = shards.write_corpus(folder, records, labelled)
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}

    def test_same_bytes_twice_and_members(self):
        with tempfile.TemporaryDirectory() as temp:
            folder = pathlib.Path(temp) / "c"
            first = self.write(folder, labelled=True)
            self.assertEqual(first, self.write(folder, labelled=True))
            self.assertEqual(first["classes.txt"], b"class 0\nclass 1\nclass 2\n")
            self.assertEqual(sum(self.counts.values()), 1200)
            rows = 0
            for name in (n for n in first if n.endswith(".tar")):
                with tarfile.open(folder / name) as shard:
                    members = {m.name: shard.extractfile(m).read() for m in shard}
                keys = sorted({n.split(".")[0] for n in members})
                rows += len(keys)
                self.assertLessEqual(len(keys), shards.SHARD_RECORDS)
                for key in keys:
                    i = int(members[f"{key}.json"].decode().split('"n')[2].split('"')[0])
                    self.assertEqual(members[f"{key}.cls"].decode(), str(i % 3))
            self.assertEqual(rows, 1200)


class Photos(unittest.TestCase):
    def test_scenes_have_their_size_and_the_same_bytes_twice(self):
        clipart = [(Image.linear_gradient("L").resize((200, 160)).convert("RGB"), "a ramp"), (Image.new("RGB", (40, 90), (200, 20, 20)), "a post")]
        with tempfile.TemporaryDirectory() as temp:
            folder = pathlib.Path(temp) / "photos-500"
            summary = photos.write(folder, clipart, 3)
            first = (folder / "train-000.tar").read_bytes()
            photos.write(folder, clipart, 3)
            self.assertEqual(first, (folder / "train-000.tar").read_bytes())
            self.assertEqual([p.name for p in folder.iterdir()], ["train-000.tar"])
            self.assertEqual(summary["records"], 3)
            self.assertAlmostEqual(summary["bytes_a_pixel"], 0.58, delta=0.1)
            with tarfile.open(folder / "train-000.tar") as shard:
                members = {m.name: shard.extractfile(m).read() for m in shard}
            self.assertEqual(len(members), 6)
            image = Image.open(io.BytesIO(members["photos-500-00001.jpg"]))
            self.assertEqual((image.size, image.format, image.layer[0][1:3]), ((500, 375), "JPEG", (2, 2)))
            self.assertEqual(len(members["photos-500-00001.txt"].decode().split("; ")), 3)
            self.assertNotEqual(members["photos-500-00001.jpg"], members["photos-500-00002.jpg"])


if __name__ == "__main__":
    unittest.main()
