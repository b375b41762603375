"""Words for where things of a scene are, and captions made of them.

Boxes are [x, y, width, height], y downwards. A word is used only where it is plainly true:
  left of, right of   one box ends before the other begins, and their centres are further apart across than down
  above, below        the same with across and down exchanged
  beside              left or right of, at nearly the same height: the boxes share half of the lower one's height, and
                      no more than half of the narrower one's width lies between them
"""

import dataclasses

from corpus.draws import Draws

Box = tuple[int, int, int, int]
SLACK = 0.15  # of the smaller side, by which boxes that are "before" each other may overlap


@dataclasses.dataclass
class Caption:
    text: str
    spans: list[tuple[int, int]]  # [begin, end) in bytes of the phrase of each thing, in the order of the phrases given


def gap(a: Box, b: Box, axis: int) -> int:
    """From the end of a to the beginning of b."""
    return b[axis] - a[axis] - a[axis + 2]


def before(a: Box, b: Box, axis: int) -> bool:
    """Whether a ends before b begins and the centres are at least as far apart along the axis as across it."""
    apart = [abs(2 * a[i] + a[i + 2] - 2 * b[i] - b[i + 2]) for i in (0, 1)]
    return gap(a, b, axis) >= -SLACK * min(a[axis + 2], b[axis + 2]) and apart[axis] >= apart[1 - axis]


def near(a: Box, b: Box) -> bool:
    shared = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return 2 * shared >= min(a[3], b[3]) and 2 * max(gap(a, b, 0), gap(b, a, 0)) <= min(a[2], b[2])


def words(a: Box, b: Box) -> list[str]:
    """All that are true of 'a WORD b'; none where the two are neither beside nor above one another."""
    true = {"left of": before(a, b, 0), "right of": before(b, a, 0), "above": before(a, b, 1), "below": before(b, a, 1)}
    found = [word for word, holds in true.items() if holds]
    if (true["left of"] or true["right of"]) and near(a, b):
        found.append("beside")
    return found


def clause(draws: Draws, boxes: list[Box]) -> list[str] | None:
    """What stands before each of two or three things: '', 'above', 'and'; None where no word is true."""
    choices = [words(boxes[0], box) for box in boxes[1:]]
    if not all(choices):
        return None
    if len(choices) == 1:
        return ["", draws.pick(choices[0])]
    if shared := [word for word in choices[0] if word in choices[1]]:
        return ["", draws.pick(shared), "and"]
    return ["", draws.pick(choices[0]), "and " + draws.pick(choices[1])]


def describe(draws: Draws, phrases: list[str], boxes: list[Box]) -> Caption | None:
    """'PHRASE above PHRASE and PHRASE, and PHRASE beside PHRASE' of two to five things, each named once."""
    order = draws.shuffled(range(len(phrases)))
    sizes = draws.pick({2: ((2,),), 3: ((3,),), 4: ((2, 2),), 5: ((2, 3), (3, 2))}[len(phrases)])
    text, spans, first = "", [(0, 0)] * len(phrases), 0
    for size in sizes:
        group, first = order[first:first + size], first + size
        joints = clause(draws, [boxes[i] for i in group])
        if joints is None:
            return None
        text += ", and " if text else ""
        for i, joint in zip(group, joints):
            text += f" {joint} " if joint else ""
            begin = len(text.encode())
            text += phrases[i]
            spans[i] = (begin, len(text.encode()))
    return Caption(text, spans)
