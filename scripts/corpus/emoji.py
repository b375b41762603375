"""The bitmaps of fonts-noto-color-emoji with CLDR's English names and keywords and Unicode's subgroups.

Caption: the name, then the keywords. Class: the subgroup of emoji-test.txt in words ("animal mammal").
Skin-tone variants of one emoji form a group of the split.
"""

import pathlib
import re
import xml.etree.ElementTree

from corpus.record import Record

LICENCE = "font SIL OFL 1.1; names, keywords and subgroups Unicode-DFS-2016"
PACKAGES = ("fonts-noto-color-emoji", "unicode-cldr-core", "unicode-data")
SKIN_TONE = re.compile(r"(light|medium-light|medium|medium-dark|dark) skin tone")
VARIATION_SELECTOR = "\ufe0f"  # asks for the coloured form; the font's tables do without


def read_subgroups(emoji_test: pathlib.Path) -> dict[str, str]:
    """{emoji without variation selectors: subgroup in words} of the fully qualified emoji."""
    subgroups, subgroup = {}, ""
    for line in emoji_test.read_text(encoding="utf-8").splitlines():
        if line.startswith("# subgroup:"):
            subgroup = line.split(":", 1)[1].strip().replace("-", " ")
        elif "; fully-qualified" in line:
            points = [chr(int(p, 16)) for p in line.split(";")[0].split()]
            subgroups["".join(points).replace(VARIATION_SELECTOR, "")] = subgroup
    return subgroups


def read_annotations(cldr: pathlib.Path) -> dict[str, tuple[str, list[str]]]:
    """{emoji without variation selectors: (name, keywords)}"""
    names, keywords = {}, {}
    for folder in ("annotations", "annotationsDerived"):
        for node in xml.etree.ElementTree.parse(cldr / folder / "en.xml").iter("annotation"):
            emoji = node.get("cp").replace(VARIATION_SELECTOR, "")
            if node.get("type") == "tts":
                names[emoji] = node.text
            else:
                keywords[emoji] = [word.strip() for word in node.text.split("|")]
    return {emoji: (name, keywords.get(emoji, [])) for emoji, name in names.items()}


class EmojiFont:
    """Finds the bitmap of a sequence of characters: by character map, or by ligature for more than one."""

    def __init__(self, path: pathlib.Path):
        from fontTools.ttLib import TTFont

        font = TTFont(path)
        self._glyphs = font.getBestCmap()
        self._bitmaps = {glyph: data.imageData for strike in font["CBDT"].strikeData for glyph, data in strike.items()}
        self._ligatures = {}
        for lookup in font["GSUB"].table.LookupList.Lookup:
            for table in lookup.SubTable:
                table = getattr(table, "ExtSubTable", table)
                if table.LookupType == 4:
                    for first, ligatures in table.ligatures.items():
                        self._ligatures.update({(first, *item.Component): item.LigGlyph for item in ligatures})

    def png(self, emoji: str) -> bytes | None:
        glyphs = tuple(self._glyphs.get(ord(c)) for c in emoji)
        glyph = glyphs[0] if len(glyphs) == 1 else self._ligatures.get(glyphs)
        return self._bitmaps.get(glyph)


def without_skin_tone(name: str) -> str:
    """'person: medium skin tone, beard' -> 'person: beard'"""
    head, _, tail = name.partition(": ")
    rest = [part for part in tail.split(", ") if part and not SKIN_TONE.fullmatch(part)]
    return head + (": " + ", ".join(rest) if rest else "")


def caption_of(name: str, keywords: list[str]) -> str:
    return ", ".join([name] + [word for word in keywords if word.lower() != name.lower()])


def read(folders: dict[str, pathlib.Path]) -> list[Record]:
    share = "usr/share"
    font = EmojiFont(folders["fonts-noto-color-emoji"] / share / "fonts/truetype/noto/NotoColorEmoji.ttf")
    annotations = read_annotations(folders["unicode-cldr-core"] / share / "unicode/cldr/common")
    subgroups = read_subgroups(folders["unicode-data"] / share / "unicode/emoji/emoji-test.txt")
    captions = {name: caption_of(name, keywords) for name, keywords in annotations.values()}
    records = []
    for emoji in sorted(subgroups):
        name, _ = annotations.get(emoji, ("", []))
        picture = font.png(emoji)
        if not name or picture is None:
            continue
        points = "-".join(f"{ord(c):x}" for c in emoji)
        plain = without_skin_tone(name)
        group = captions.get(plain, plain).lower()  # the caption of the emoji without skin tone
        records.append(Record("fonts-noto-color-emoji", points, picture, captions[name], subgroups[emoji], group))
    return records
