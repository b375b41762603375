"""Draws that depend on a text alone: raw bits of a counter-based generator."""

import hashlib

import numpy as np


class Draws:
    def __init__(self, key: str):
        self.bits = np.random.Philox(key=int.from_bytes(hashlib.sha256(key.encode()).digest()[:16], "big"))

    def below(self, count: int) -> int:
        return int(self.bits.random_raw()) % count

    def between(self, least: int, most: int) -> int:
        """Both included."""
        return least + self.below(most - least + 1)

    def unit(self) -> float:
        """In [0, 1)."""
        return (int(self.bits.random_raw()) >> 11) / 2**53

    def pick(self, items):
        return items[self.below(len(items))]

    def weighted(self, cumulative: np.ndarray) -> int:
        """An index with the probability that the sums up to it say."""
        return int(np.searchsorted(cumulative, self.unit() * cumulative[-1], side="right"))

    def shuffled(self, items) -> list:
        rest, mixed = list(items), []
        while rest:
            mixed.append(rest.pop(self.below(len(rest))))
        return mixed
