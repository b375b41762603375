"""Photograph-like pictures for measuring loaders: scenes of clip art over noise with a photograph's spectrum.

A decoder's time depends on how many bytes a pixel has, not on what is seen, so the noise is as strong as it takes for
JPEG of quality 90 and 4:2:0 to come out at about 0.58 bytes a pixel at 500 x 375 and 0.44 at 1600 x 1200. PNG and WebP
(quality 90) hold the same scenes. The pictures
are those of clipart-text, whose captions the scenes keep. All draws are raw bits of a counter-based generator, so the
bytes depend on the pinned numpy and Pillow alone.
"""

import dataclasses
import io
import pathlib
import shutil
import tarfile

import numpy as np
from PIL import Image

from corpus.shards import add

SHARD_RECORDS = 500
QUALITY = 90
ENCODER = {  # Pillow's name and options by extension
    "jpg": ("JPEG", {"quality": QUALITY, "subsampling": 2}),
    "png": ("PNG", {}),
    "webp": ("WEBP", {"quality": QUALITY}),
}
FIELD = 2048  # side of the noise field that all scenes cut from


@dataclasses.dataclass
class PhotoSet:
    width: int
    height: int
    records: int
    grain: int  # amplitude of the noise of single pixels
    extension: str = "jpg"


SETS = {
    "photos-500": PhotoSet(500, 375, 6000, 20),
    "photos-1600": PhotoSet(1600, 1200, 1000, 13),
    "photos-500-png": PhotoSet(500, 375, 1000, 20, "png"),
    "photos-500-webp": PhotoSet(500, 375, 1000, 20, "webp"),
}


def words(key: int, count: int) -> np.ndarray:
    return np.random.Philox(key=key).random_raw(count)


def noise(key: int, side: int) -> np.ndarray:
    """Bytes [side, side, 3]; the mean of four uniform bytes."""
    raw = words(key, side * side * 3 // 2).view(np.uint8).reshape(4, side, side, 3)
    return (raw.astype(np.uint16).sum(0) // 4).astype(np.uint8)


def field() -> np.ndarray:
    """int16 [FIELD, FIELD, 3] around 0: octaves whose amplitude halves with their wavelength, as in photographs."""
    total = np.zeros((FIELD, FIELD, 3), np.int16)
    for octave, amplitude in enumerate((96, 64, 48, 32, 20, 12)):
        coarse = Image.fromarray(noise(octave, 8 << octave)).resize((FIELD, FIELD), Image.Resampling.BICUBIC)
        total += (np.asarray(coarse, np.int16) - 128) * amplitude // 64
    return total


def read_clipart(folder: pathlib.Path) -> list[tuple[Image.Image, str]]:
    """Pictures and captions of clipart-text's training shards, in their order."""
    pairs = []
    for path in sorted(folder.glob("train-*.tar")):
        with tarfile.open(path) as shard:
            members = {m.name: shard.extractfile(m).read() for m in shard}
        for name in members:
            if name.endswith(".jpg"):
                caption = members[name[:-4] + ".txt"].decode()
                pairs.append((Image.open(io.BytesIO(members[name])).convert("RGB"), caption))
    return pairs


class Scenes:
    """Scenes of one size, as files of one format."""

    def __init__(self, clipart: list[tuple[Image.Image, str]], wanted: PhotoSet):
        self.clipart, self.width, self.height = clipart, wanted.width, wanted.height
        self.format, self.options = ENCODER[wanted.extension]
        self.grain = (noise(99, FIELD).astype(np.int16) - 128) * wanted.grain // 32
        self.ground = np.clip(field() + self.grain + 128, 0, 255).astype(np.uint8)

    def make(self, index: int) -> tuple[bytes, str]:
        """The file and the caption of scene `index`: three pictures, which white makes transparent."""
        draws = iter(words(1000 + index, 16).tolist())
        left, top = next(draws) % (FIELD - self.width + 1), next(draws) % (FIELD - self.height + 1)
        window = np.s_[top:top + self.height, left:left + self.width]
        scene, grain = self.ground[window].copy(), self.grain[window]
        captions = []
        for _ in range(3):
            picture, caption = self.clipart[next(draws) % len(self.clipart)]
            captions.append(caption)
            scale = self.height * (40 + next(draws) % 50) / 100 / max(picture.size)
            width, height = (max(1, round(side * scale)) for side in picture.size)
            resized = np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC))
            x, y = next(draws) % max(1, self.width - width // 2), next(draws) % max(1, self.height - height // 2)
            place = np.s_[y:y + height, x:x + width]
            self.paste(scene[place], grain[place], resized)
        stream = io.BytesIO()
        Image.fromarray(scene).save(stream, self.format, **self.options)
        return stream.getvalue(), "; ".join(captions)

    @staticmethod
    def paste(part: np.ndarray, grain: np.ndarray, picture: np.ndarray) -> None:
        picture = picture[:part.shape[0], :part.shape[1]]
        drawn = picture.min(2, keepdims=True) < 250
        np.copyto(part, np.clip(picture + grain, 0, 255).astype(np.uint8), where=drawn)


def write(folder: pathlib.Path, clipart: list[tuple[Image.Image, str]], count: int | None = None) -> dict[str, float]:
    """Writes train-###.tar of the corpus that the folder's name says; records, bytes a picture and a pixel.

    What the folder held is removed; a shard has another name until it is whole. `count` makes fewer records.
    """
    wanted = SETS[folder.name]
    records = count or wanted.records
    scenes, total = Scenes(clipart, wanted), 0
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    for first in range(0, records, SHARD_RECORDS):
        path = folder / f"train-{first // SHARD_RECORDS:03d}.tar"
        scratch = path.with_suffix(".tmp")
        with tarfile.open(scratch, "w", format=tarfile.USTAR_FORMAT) as shard:
            for index in range(first, min(first + SHARD_RECORDS, records)):
                picture, caption = scenes.make(index)
                add(shard, f"{folder.name}-{index:05d}.{wanted.extension}", picture)
                add(shard, f"{folder.name}-{index:05d}.txt", caption.encode())
                total += len(picture)
        scratch.rename(path)
    return {"records": records, "bytes": total / records, "bytes_a_pixel": total / records / (wanted.width * wanted.height)}
