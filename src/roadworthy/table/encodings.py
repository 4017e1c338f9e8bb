"""Find out in which encoding a text file is written."""

from __future__ import annotations

import codecs
import math
import re
from pathlib import Path

from roadworthy.errors import InputError

_HEAD_BYTES = 1 << 16
_SAMPLE_BYTES = 1 << 22
_MOST_WORDS = 5_000
_CELL = re.compile(rb'[^,;\t|"\r\n]*[\x80-\xff][^,;\t|"\r\n]*')
_WORD = re.compile(rb"[A-Za-z\x80-\xff]*[\x80-\xff][A-Za-z\x80-\xff]*")
_RUN = re.compile(rb"[\x80-\xff]{2,}")
_PACKED = {
    b"PK\x03\x04": ("a ZIP archive or an Excel workbook", "unpack it, or save the sheet as CSV"),
    b"SQLite format 3\0": (
        "an SQLite database",
        "name a table of it: sqlite:///FILE#TABLE",
    ),
}
"""How files begin that are no text, what they are, and what can be done."""

# The letters beyond ASCII of languages that are written in Latin letters, by Windows' code pages.
_LETTERS = {
    "cp1252": (
        "äöüß", "àâæçéèêëîïôœùûüÿ", "áéíóúñü", "áâãàçéêíóôõúü", "àèéìòù", "åäöéæø",
        "áðéíóúýþæö", "áàçéèëïíóòúü", "äõöüšž", "àâáäãåæçéèêëíîïñóôöõøœúûüß",
    ),
    "cp1250": (
        "ąćęłńóśźż", "áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "áéíóöőúüű", "čćđšž", "ăâîşţ",
    ),
    "cp1254": ("çğıöşüİâîû",),
    "cp1257": ("ąčęėįšųūž", "āčēģīķļņšūž"),
}  # fmt: skip
_SIGNS = "€£¥“”‘’„‚«»¿¡–—…·•°±µ§©®™ºª\u00a0"  # noqa: RUF001
"""What stands before letters in any of these languages."""
_NOT_BY_BYTES = ["utf_7", *(f"utf_{bits}{end}" for bits in (16, 32) for end in ("", "_be", "_le"))]
"""Encodings that would have shown by NUL bytes, or that have no bytes above 127."""
_STRANGE = math.log(2_000)
"""What a letter costs that a language has not; one of its n letters costs log n."""
_WORST = 4.0
"""Cost of a letter, on average, above which a text is in none of these languages."""


def detect_encoding(plain: Path, path: Path) -> str:
    """The encoding of a text file; the whole of it is looked at.

    Args:
        plain: The file, unpacked.
        path: Its name, for errors.

    Raises:
        InputError: The file is empty, or not text.
    """
    with plain.open("rb") as stream:
        head = stream.read(_HEAD_BYTES)
        if not head.strip():
            raise InputError("the file is empty", where=str(path))
        for bom, name in ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")):
            if head.startswith(bom):
                return name
        refuse_binary(head, str(path))
        stream.seek(0)
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            while block := stream.read(1 << 22):
                start = stream.tell() - len(block)
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            stream.seek(max(0, start + error.start - (1 << 15)))
            return guess_encoding(stream.read(_SAMPLE_BYTES))
    return "utf-8"


def refuse_binary(head: bytes, where: str) -> None:
    """Refuse what is no text.

    Args:
        head: How a file begins, in an encoding other than UTF-16.
        where: Its name.

    Raises:
        InputError: It is of a kind that is known, or holds NUL bytes.
    """
    for mark, (kind, fix) in _PACKED.items():
        if head.startswith(mark):
            raise InputError(f"the file is {kind}, not text", where=where, fix=fix)
    if b"\0" in head:
        raise InputError(
            "the file is not delimited text: it holds NUL bytes",
            where=where,
            fix="give a CSV, TSV or Parquet file, or name the encoding in [data] encoding",
        )


def guess_encoding(sample: bytes) -> str:
    """The likeliest encoding of a text that is not UTF-8.

    Latin letters are told by the letters of each language, for in tables words with an accent are
    few and short, too few for statistics of texts; these decide on other scripts.

    Args:
        sample: A part of the text that has bytes above 127.
    """
    words = list(dict.fromkeys(_WORD.findall(sample)))[:_MOST_WORDS]
    beyond = sum(byte > 127 for word in words for byte in word)
    in_runs = sum(len(run) for word in words for run in _RUN.findall(word))
    # Greek, Cyrillic or Chinese words are runs of such bytes; Latin ones hold one here and there.
    if beyond and in_runs <= beyond / 2:
        costs = {name: _cost(words, name) for name in _LETTERS}
        latin = min(costs, key=costs.__getitem__)
        if costs[latin] <= _WORST:
            return latin
    from charset_normalizer import from_bytes

    cells = b"\n".join(list(dict.fromkeys(_CELL.findall(sample)))[:_MOST_WORDS])
    best = from_bytes(cells, cp_exclusion=_NOT_BY_BYTES).best()
    # A byte that no guess explains is read as Western European, which takes any byte.
    return best.encoding if best is not None and best.encoding != "ascii" else "cp1252"


def _cost(words: list[bytes], encoding: str) -> float:
    """How strange the letters of words are in the language that explains them best, a letter."""
    text = "\n".join(word.decode(encoding, "replace") for word in words)
    marks = [
        (letter, text[place + 1 : place + 2].isalpha())
        for place, letter in enumerate(text)
        if ord(letter) > 127
    ]
    # A sign such as € or ² costs nothing, unless it stands before a letter, as in Wroc³aw.
    letters = [
        letter
        for letter, before_letter in marks
        if letter not in _SIGNS and (before_letter or letter == "\ufffd" or letter.isalpha())
    ]
    if not letters:
        return 0.0
    return min(_language_cost(letters, own) for own in _LETTERS[encoding])


def _language_cost(letters: list[str], own: str) -> float:
    known = frozenset(own + own.upper())
    usual = math.log(len(own))
    return sum(usual if letter in known else _STRANGE for letter in letters) / len(letters)
