"""A picture of clip art without its ground, and the colour that most of it has.

The PNG files of the clip art have exact alpha, so nothing is guessed from white. Pillow's averages weigh colours by
alpha, which leaves no halo. A drawing that fills the border of its box has a ground of its own and is no cut-out, save
for things that are rectangles.
"""

import dataclasses
import pathlib

import numpy as np
from PIL import Image

from corpus.picture import LONG_SIDE, STRIP_ROWS

SHORTEST = 24  # long side in pixels; smaller pictures look blurred in a scene
MOST_PIXELS = 40_000_000  # a few drawings have 600 million
LEAST_COVER = 0.2  # of its bounding box: less is a thin outline
OPAQUE_BORDER = 0.95
RECTANGLES = {"certificate", "envelope", "flag", "light", "map", "playing card", "road sign", "sign"}

NAMED_SHARE = 0.6  # of the coloured pixels, for a colour to describe the thing
OUTLINE_SHARE = 0.35  # up to here black is an outline, which does not count
DARK_SHARE = 0.75  # from here the thing itself is black
# (name, first and last hue in degrees, least saturation, least and greatest value), the first that fits; gaps between
# them are colours that people name differently.
HUES = (
    ("red", 345, 360, 0.55, 0.35, 1.0), ("red", 0, 13, 0.55, 0.35, 1.0), ("brown", 13, 42, 0.35, 0.2, 0.62),
    ("orange", 18, 40, 0.65, 0.8, 1.0), ("yellow", 46, 64, 0.4, 0.75, 1.0), ("green", 75, 165, 0.25, 0.2, 1.0),
    ("blue", 192, 252, 0.3, 0.25, 1.0), ("purple", 262, 300, 0.25, 0.25, 1.0), ("pink", 305, 345, 0.2, 0.75, 1.0),
    ("pink", 345, 360, 0.2, 0.85, 1.0),
)


@dataclasses.dataclass
class Cutout:
    rgba: np.ndarray  # bytes [height, width, 4], long side at most LONG_SIDE, cropped to what is drawn
    colour: str  # "" = none that describes it


def reduced(image: Image.Image) -> Image.Image:
    """RGBA, at most 4 LONG_SIDE, averaged strip by strip as picture.py does."""
    factor = max(1, max(image.size) // (4 * LONG_SIDE))
    width, height = image.size
    whole = Image.new("RGBA", (-(-width // factor), -(-height // factor)))
    for top in range(0, height, STRIP_ROWS * factor):
        strip = image.crop((0, top, width, min(height, top + STRIP_ROWS * factor))).convert("RGBA")
        whole.paste(strip.reduce(factor), (0, top // factor))
    return whole


def hue_saturation_value(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of bytes [n, 3]: degrees, and two shares of 1."""
    red, green, blue = (rgb[:, i].astype(np.float64) for i in range(3))
    high, low = rgb.max(1).astype(np.float64), rgb.min(1).astype(np.float64)
    span = np.maximum(high - low, 1)
    sixths = np.where(high == green, (blue - red) / span + 2, (red - green) / span + 4)
    hue = 60 * np.where(high == red, (green - blue) / span % 6, sixths)
    return hue, (high - low) / np.maximum(high, 1), high / 255


def colour_shares(rgb: np.ndarray) -> dict[str, float]:
    """Share of the pixels [n, 3] that each named colour has; what is between two names counts for none."""
    hue, saturation, value = hue_saturation_value(rgb)
    dark = (value < 0.2) | ((saturation < 0.25) & (value < 0.3))
    pale = ~dark & (saturation < 0.1)
    shares = {"black": dark, "white": pale & (value > 0.9), "grey": pale & (value > 0.35) & (value < 0.85)}
    free = ~dark & ~pale
    for name, first, last, least_saturation, least, most in HUES:
        fits = free & (hue >= first) & (hue <= last) & (saturation >= least_saturation)
        fits &= (value >= least) & (value <= most)
        shares[name] = shares.get(name, False) | fits
        free = free & ~fits
    return {name: float(fits.mean()) for name, fits in shares.items()}


def colour_of(rgba: np.ndarray) -> str:
    """The colour of NAMED_SHARE of the pixels but for a black outline; "" if there is none."""
    rgb = rgba[rgba[..., 3] >= 200][:, :3]
    if len(rgb) == 0:
        return ""
    shares = colour_shares(rgb)
    black = shares.pop("black")
    if black >= DARK_SHARE:
        return "black"
    name = max(shares, key=lambda key: shares[key])
    return name if black <= OUTLINE_SHARE and shares[name] >= NAMED_SHARE * (1 - black) else ""


def cut(file: pathlib.Path, noun: str) -> Cutout | None:
    """None for a picture that is no cut-out: huge, tiny, empty, a thin outline, or with a ground of its own."""
    with Image.open(file) as image:
        if image.width * image.height > MOST_PIXELS:
            return None
        small = reduced(image)
    alpha = np.asarray(small)[..., 3]
    rows, columns = np.flatnonzero((alpha >= 128).any(1)), np.flatnonzero((alpha >= 128).any(0))
    if len(rows) == 0 or max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1 < SHORTEST:
        return None
    small = small.crop((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    scale = min(1, LONG_SIDE / max(small.size))
    rgba = np.asarray(small.resize([max(1, round(side * scale)) for side in small.size], Image.Resampling.LANCZOS))
    drawn = rgba[..., 3] >= 128
    border = np.concatenate([drawn[0], drawn[-1], drawn[:, 0], drawn[:, -1]])
    if drawn.mean() < LEAST_COVER or (border.mean() > OPAQUE_BORDER and noun not in RECTANGLES):
        return None
    return Cutout(rgba, colour_of(rgba))
