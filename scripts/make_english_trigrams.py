#!/usr/bin/env python3
"""Writes data/tools/english_trigrams.inc: how much more likely a letter trigram is in English than in other languages.

Counts letter trigrams in the names and keywords of emoji, in English and in the other languages that are listed here, from the
Debian package unicode-cldr-core that scripts/corpora unpacks below corpora/.cache. The table stands in the repository; run this
only to make it anew.
"""

import argparse
import math
import pathlib
import re
import sys
import unicodedata
import xml.etree.ElementTree as ET

ROOT = pathlib.Path(__file__).resolve().parent.parent
ENGLISH = ("en", "en_AU", "en_CA", "en_GB", "en_IN", "en_001")
OTHERS = ("af az bs ca cs cy da de es et eu fi fil fr ga gl hr hu id is it jv lt lv ms mt nl no pl pt ro sk sl so sq sr_Latn sv sw tr uz vi").split()
LETTERS = "abcdefghijklmnopqrstuvwxyz"
SYMBOLS = LETTERS + "* "  # * stands for every other letter, the blank for the end of a word
SMOOTHING = 2.0  # trigrams added to each count
SCALE = 8  # steps of a nat
# What the names of emoji lack: English words that join others, each counted as if it stood in this many names.
JOINING = ("a an the of in on at to for from with and or is are was were be been has have had it its he his she her they their this "
           "that these those by as up down out over under near next while who which what when where there two three one some").split()
JOINING_WEIGHT = 60


def symbols(word: str) -> str:
    """The letters of a word, those with accents and of other scripts as *."""
    text = unicodedata.normalize("NFKC", word.casefold())
    return "".join(c if c in LETTERS else "*" for c in text if unicodedata.category(c)[0] == "L")


def words(text: str) -> list[str]:
    return [w for w in (symbols(w) for w in re.findall(r"[^\W\d_]+", unicodedata.normalize("NFC", text))) if w]


def count(names: list[str], counts: dict[str, float], weight: float = 1) -> None:
    for name in names:
        for word in words(name):
            padded = f" {word} "
            for i in range(len(padded) - 2):
                counts[padded[i:i + 3]] = counts.get(padded[i:i + 3], 0) + weight


def names_of(folder: pathlib.Path, language: str) -> list[str]:
    file = folder / f"{language}.xml"
    return [part for node in ET.parse(file).iter("annotation") for part in (node.text or "").split("|") if "↑" not in part]


def table(folder: pathlib.Path) -> list[str]:
    english: dict[str, float] = {}
    for language in ENGLISH:
        count(names_of(folder, language), english)
    count(JOINING, english, JOINING_WEIGHT)
    others: dict[str, float] = {}
    for language in OTHERS:
        one: dict[str, float] = {}
        count(names_of(folder, language), one)
        total = sum(one.values())
        for trigram, n in one.items():  # every language has the same say
            others[trigram] = others.get(trigram, 0) + n / total
    all_english, scale = sum(english.values()), sum(english.values()) / len(OTHERS)
    cells = len(SYMBOLS) ** 3
    rows = []
    for a in SYMBOLS:
        row = ""
        for b in SYMBOLS:
            for c in SYMBOLS:
                t = a + b + c
                p = (english.get(t, 0) + SMOOTHING) / (all_english + SMOOTHING * cells)
                q = (others.get(t, 0) * scale + SMOOTHING) / (all_english + SMOOTHING * cells)
                step = max(-32, min(31, round(SCALE * math.log(p / q))))
                row += "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[step + 32]
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/make_english_trigrams.py", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("annotations", type=pathlib.Path, nargs="?", help="folder of CLDR's annotations (default: in corpora/.cache)")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "data/tools/english_trigrams.inc")
    arguments = parser.parse_args()
    found = [arguments.annotations] if arguments.annotations else sorted(ROOT.glob("corpora/.cache/unicode-cldr-core-*/usr/share/unicode/cldr/common/annotations"))
    if not found or not found[0].is_dir():
        sys.exit("scripts/make_english_trigrams.py: no CLDR annotations; run scripts/corpora first")
    lines = "\n".join(f'    "{row[i:i + 112]}"' for row in table(found[0]) for i in range(0, len(row), 112))
    arguments.out.write_text("// Written by scripts/make_english_trigrams.py from CLDR's annotations (Unicode-DFS-2016).\n" + lines + "\n")


if __name__ == "__main__":
    main()
