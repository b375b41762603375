"""Noun phrases for the things of a scene, such that each of them means one thing: 'a red car', 'an animal'.

A thing is called by its noun or by one of the noun's kinds, with its colour or without. A phrase means another thing,
too, when its noun is the other's noun or one of its kinds, and the other's colour is not known to be another.
"""

import dataclasses

from corpus.draws import Draws

KIND_SHARE = 4  # one phrase of so many says a kind
PLAIN_SHARE = 3  # one phrase of so many leaves the colour out
TRIES = 8
VOWELS = ("a", "e", "i", "o", "hourglass", "umbrella")


@dataclasses.dataclass(frozen=True)
class Named:
    kinds: tuple[str, ...]  # the noun, then all that it is a kind of
    colour: str  # "" = none that describes it


@dataclasses.dataclass(frozen=True)
class Phrase:
    noun: str
    colour: str  # "" = not said

    def text(self) -> str:
        words = f"{self.colour} {self.noun}".strip()
        return ("an " if words.startswith(VOWELS) else "a ") + words


def means(phrase: Phrase, thing: Named) -> bool:
    """Whether the phrase could mean the thing: it is one, and no colour that is said rules it out."""
    return phrase.noun in thing.kinds and not (phrase.colour and thing.colour and thing.colour != phrase.colour)


def phrase_of(draws: Draws, thing: Named) -> Phrase:
    noun = thing.kinds[0] if draws.below(KIND_SHARE) else draws.pick(thing.kinds)
    said = thing.colour if draws.below(PLAIN_SHARE) and thing.colour != noun else ""
    return Phrase(noun, said)


def name(draws: Draws, things: list[Named]) -> list[Phrase] | None:
    """A phrase for each; None where they cannot be told apart."""
    for _ in range(TRIES):
        phrases = [phrase_of(draws, thing) for thing in things]
        if all(means(phrase, other) == (i == j) for i, phrase in enumerate(phrases) for j, other in enumerate(things)):
            return phrases
    return None
