"""The clip art of the packages openclipart-png (pictures) and openclipart-svg (titles and keywords as RDF).

Caption: the RDF title, or the words of the file name where the title is missing or shared by more than three files (a
title like "Part of the Flat Icon Collection" says nothing about one picture), followed by the keywords.
Class: the top-level folder in words.
"""

import collections
import html
import pathlib
import re

from corpus.record import Record

LICENCE = "public domain (Creative Commons Public Domain Dedication)"
PACKAGES = ("openclipart-png", "openclipart-svg")
NOT_A_CLASS = {"unsorted", "special", "buttons"}
TITLE_SHARED_BY = 3
RDF_BYTES = 400_000  # the metadata stands at the start of the file

WORK_TITLE = re.compile(r"<cc:Work[^>]*>.*?<dc:title[^>]*>(.*?)</dc:title>", re.S)
SUBJECT = re.compile(r"<dc:subject[^>]*>(.*?)</dc:subject>", re.S)
KEYWORD = re.compile(r"<rdf:li[^>]*>(.*?)</rdf:li>", re.S)
CREATOR = re.compile(r"<dc:creator[^>]*>.*?<dc:title[^>]*>(.*?)</dc:title>", re.S)
AUTHOR_PREFIX = re.compile(r"^clipart by .*? - ", re.I)
COLLECTION = re.compile(r"collection|theme", re.I)
# Keywords about the upload, and what a broken export left of them: "HASH(0x9c6e8a4)".
NOISE = re.compile(r"hash$|hash\(|0x[0-9a-f]{5}|^theme icon$|unsorted|externally visible|remix|inkscape", re.I)


def plain(markup: str) -> str:
    text = re.sub(r"<[^>]*>", " ", html.unescape(html.unescape(markup)))
    return " ".join(text.split())


def file_words(name: str) -> str:
    """'birds/grey_duck_02' -> 'grey duck'"""
    words = re.sub(r"[_\-]+", " ", name.rsplit("/", 1)[-1])
    return " ".join(re.sub(r"\b0*\d+\b", " ", words).split())


def read_rdf(svg: pathlib.Path) -> tuple[str, list[str]]:
    """Title ("" where there is none that reads like one) and keywords."""
    if not svg.is_file():
        return "", []
    with svg.open("rb") as stream:
        head = stream.read(RDF_BYTES).decode("utf-8", "replace")
    found = WORK_TITLE.search(head)
    title = AUTHOR_PREFIX.sub("", plain(found.group(1))) if found else ""
    if "_" in title and re.fullmatch(r"[\w\-]*\d[\w\-]*", title):
        title = ""  # a file name, not a title
    subject, creator = SUBJECT.search(head), CREATOR.search(head)
    author = plain(creator.group(1)).lower() if creator else None
    keywords = [plain(k).replace("_", " ") for k in KEYWORD.findall(subject.group(1))] if subject else []
    return title.replace("_", " "), [k for k in keywords if k and k.lower() != author and not NOISE.search(k)]


def caption_of(name: str, title: str, keywords: list[str], title_is_shared: bool) -> str:
    words = file_words(name)
    first = words or title
    if title and not title_is_shared:
        first = title
    elif title and words and not COLLECTION.search(title) and title.lower() not in words.lower():
        keywords = [title] + keywords
    parts = {}
    for part in [first] + keywords:
        parts.setdefault(part.lower(), part)
    return ", ".join(parts.values())


def read(folders: dict[str, pathlib.Path]) -> list[Record]:
    """All pictures, by name. Symbolic links are other names of pictures that are in the list already."""
    base = "usr/share/openclipart"
    png, svg = folders["openclipart-png"] / base / "png", folders["openclipart-svg"] / base / "svg"
    files = {str(p.relative_to(png).with_suffix("")): p for p in png.rglob("*.png") if not p.is_symlink()}
    rdf = {name: read_rdf(svg / (name + ".svg")) for name in files}
    uses = collections.Counter(title.lower() for title, _ in rdf.values())
    records = []
    for name in sorted(files):
        title, keywords = rdf[name]
        caption = caption_of(name, title, keywords, uses[title.lower()] > TITLE_SHARED_BY)
        top = name.split("/")[0]
        class_name = "" if top in NOT_A_CLASS else top.replace("_", " ")
        records.append(Record("openclipart-png", name, files[name], caption, class_name, caption.lower()))
    return records
