"""A picture as the corpora store it: transparent parts white, long side at most 256, JPEG of high quality.

JPEG, because its bytes depend on the pinned Pillow alone (a deflate stream may differ between processors), and because
it decodes faster than PNG. 4:4:4 and quality 95 keep the thin coloured lines of drawings.
"""

import dataclasses
import hashlib
import io
import pathlib

from PIL import Image

Image.MAX_IMAGE_PIXELS = None  # the packages are checked by hash, and one drawing has 231 million pixels
LONG_SIDE = 256
STRIP_ROWS = 16  # of the reduced picture
QUALITY = 95


@dataclasses.dataclass
class Rendered:
    jpeg: bytes
    pixels: str  # hash of size and pixels
    blank: bool  # one colour all over


def on_white(image: Image.Image) -> Image.Image:
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image).convert("RGB")


def reduced_on_white(image: Image.Image) -> Image.Image:
    """Averages whole squares of a huge picture, strip by strip: all of it in four channels would need gigabytes."""
    factor = max(1, max(image.size) // (4 * LONG_SIDE))
    width, height = image.size
    reduced = Image.new("RGB", (-(-width // factor), -(-height // factor)))
    for top in range(0, height, STRIP_ROWS * factor):
        strip = image.crop((0, top, width, min(height, top + STRIP_ROWS * factor)))
        reduced.paste(on_white(strip).reduce(factor), (0, top // factor))
    return reduced


def shrink(image: Image.Image) -> Image.Image:
    scale = LONG_SIDE / max(image.size)
    if scale >= 1:
        return image
    size = tuple(max(1, round(side * scale)) for side in image.size)
    return image.resize(size, Image.Resampling.LANCZOS)


def render(picture: bytes | pathlib.Path) -> Rendered:
    data = picture if isinstance(picture, bytes) else picture.read_bytes()
    image = shrink(reduced_on_white(Image.open(io.BytesIO(data))))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=QUALITY, subsampling=0)
    pixels = hashlib.sha256(repr(image.size).encode() + image.tobytes()).hexdigest()
    return Rendered(stream.getvalue(), pixels, image.getcolors(1) is not None)
