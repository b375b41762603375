"""A scene of cut-outs on a plain or textured ground, with the box of what is seen of each.

Of every thing at least VISIBLE_SHARE is seen, boxes overlap by at most BOX_OVERLAP of the smaller one, and at least
DISTINCT_SHARE of what is seen differs from the ground.
"""

import dataclasses

import numpy as np
from PIL import Image

from corpus.draws import Draws

VISIBLE_SHARE = 0.75
BOX_OVERLAP = 0.2
DISTINCT_SHARE = 0.5
DISTINCT_LEVELS = 40  # difference to the ground in the channel that differs most
LEAST_AREA = 0.006  # seen pixels as a share of the scene's
LEAST_SIDE = 0.07  # of a box, as a share of the scene's
# Long side of a thing in percent of the scene's, by the number of things.
LONG_SIDES = {2: (34, 62), 3: (28, 52), 4: (24, 44), 5: (20, 38)}
PLACES = 12  # tried for a thing before the scene is drawn anew


@dataclasses.dataclass
class Placed:
    box: tuple[int, int, int, int]  # x, y, width, height in pixels of what is seen
    area: int  # pixels that are seen
    visible: float  # share of the thing's pixels that is seen


@dataclasses.dataclass
class Scene:
    pixels: np.ndarray  # bytes [size, size, 3]
    things: list[Placed]  # in the order of the cut-outs


def colour(draws: Draws) -> np.ndarray:
    """A pale, a medium or a dark ground."""
    least, most = draws.pick(((150, 255), (150, 255), (60, 200), (20, 110)))
    return np.array([draws.between(least, most) for _ in range(3)], np.float64)


def ground(draws: Draws, size: int) -> np.ndarray:
    """Bytes [size, size, 3]: one colour, a gradient, stripes, or a mottled surface."""
    kind, base = draws.pick(("plain", "plain", "gradient", "stripes", "mottled")), colour(draws)
    y, x = np.mgrid[0:size, 0:size] / size
    wave = np.zeros((size, size))
    if kind == "gradient":
        wave = (y if draws.below(2) else x) - 0.5
    elif kind == "stripes":
        across = draws.pick((x, y, x + y, x - y))
        wave = (np.floor(across * draws.between(5, 12)) % 2 - 0.5) / 2
    elif kind == "mottled":
        side = draws.between(4, 16)
        coarse = np.array([draws.below(256) for _ in range(side * side)], np.uint8).reshape(side, side)
        smooth = Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)
        wave = (np.asarray(smooth, np.float64) / 255 - 0.5) * 0.8
    tint = np.array([draws.between(20, 70) for _ in range(3)], np.float64)
    return np.clip(base + wave[..., None] * tint, 0, 255).astype(np.uint8)


def overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    """Of two boxes, as a share of the smaller one."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return max(0, width) * max(0, height) / min(a[2] * a[3], b[2] * b[3])


def place(draws: Draws, pictures: list[np.ndarray], size: int) -> list[tuple[int, int, int, int]] | None:
    """Boxes of the things' frames; None where one finds no room."""
    least, most = LONG_SIDES[len(pictures)]
    boxes = []
    for picture in pictures:
        height, width = picture.shape[:2]
        scale = size * draws.between(least, most) / 100 / max(width, height)
        width, height = max(1, round(width * scale)), max(1, round(height * scale))
        for _ in range(PLACES):
            box = (draws.below(size - width + 1), draws.below(size - height + 1), width, height)
            if all(overlap(box, other) <= BOX_OVERLAP for other in boxes):
                boxes.append(box)
                break
        else:
            return None
    return boxes


def paste(canvas: np.ndarray, picture: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """Blends into float canvas [size, size, 3]; the mask [size, size] of what it covers."""
    x, y, width, height = box
    resized = np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS), np.float64)
    window, alpha = canvas[y:y + height, x:x + width], resized[..., 3:] / 255
    window += (resized[..., :3] - window) * alpha
    mask = np.zeros(canvas.shape[:2], bool)
    mask[y:y + height, x:x + width] = alpha[..., 0] >= 0.5
    return mask


def seen(mask: np.ndarray, own: np.ndarray) -> Placed:
    """From what is seen of a thing and all of it."""
    area = int(mask.sum())
    if area == 0:
        return Placed((0, 0, 0, 0), 0, 0.0)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = (int(columns[0]), int(rows[0]), int(columns[-1] - columns[0] + 1), int(rows[-1] - rows[0] + 1))
    return Placed(box, area, area / int(own.sum()))


def draw(draws: Draws, pictures: list[np.ndarray], size: int) -> Scene | None:
    """The pictures (bytes [h, w, 4]) on a ground, later ones in front; None where a limit above is not kept."""
    under, boxes = ground(draws, size), place(draws, pictures, size)
    if boxes is None:
        return None
    canvas = under.astype(np.float64)
    masks = [paste(canvas, picture, box) for picture, box in zip(pictures, boxes)]
    pixels = np.clip(np.rint(canvas), 0, 255).astype(np.uint8)
    differs = np.abs(pixels.astype(np.int16) - under).max(2) >= DISTINCT_LEVELS
    things, covered = [], np.zeros((size, size), bool)
    for mask in reversed(masks):
        visible = mask & ~covered
        covered |= mask
        things.append(seen(visible, mask))
        if things[-1].area < LEAST_AREA * size * size or min(things[-1].box[2:]) < LEAST_SIDE * size:
            return None
        if things[-1].visible < VISIBLE_SHARE or differs[visible].mean() < DISTINCT_SHARE:
            return None
    things.reverse()
    if any(overlap(a.box, b.box) > BOX_OVERLAP for i, a in enumerate(things) for b in things[:i]):
        return None
    return Scene(pixels, things)
