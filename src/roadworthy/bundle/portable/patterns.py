"""Regular expressions (RE2) that read texts as the contract does: trim, blanks, words.

A graph has no `str.lower`, so a letter is matched by all the letters whose lower case it is.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from roadworthy.bundle.portable.inexact import InexactError
from roadworthy.cells import WHITE_SPACE

_CASED = 0x20000
"""No letter beyond has another case."""
_BY_CONTEXT = "\u03c3\u03c2\u0307"
"""Small sigmas, of which the neighbours decide, and the dot that a dotted I leaves."""
NOTHING = r"[^\x{0}-\x{10FFFF}]"
"""Matches no text."""


def trimmed() -> str:
    """Finds a text without the white space around it, as one token."""
    space = "".join(f"\\x{{{ord(sign):x}}}" for sign in WHITE_SPACE)
    return f"[^{space}](?:(?s:.)*[^{space}])?"


def words() -> str:
    r"""Finds the words of a text that is not yet in lower case: two letters, digits or _ and more.

    Python's `\w` is Unicode's letters and numbers and the underscore. In lower case a dotted I
    (U+0130), the one letter whose lower case is two, ends a word: its dot is no letter.
    """
    letter = r"(?:[\p{Ll}\p{Lt}\p{Lm}\p{Lo}\p{N}_]|[^\P{Lu}\x{130}])"
    return rf"(?:{letter}+\x{{130}}|{letter}{{2,}})"


def any_of(texts: Sequence[str]) -> str:
    """Matches the texts, which are in lower case, in any case.

    Raises:
        InexactError: The case of one of their letters depends on its neighbours.
    """
    return "(?:" + "|".join("".join(map(_any_case, text)) for text in sorted(texts)) + ")"


def word(text: str) -> str:
    """Matches a word, which is in lower case, in any case; raises as `any_of`."""
    if not text:
        return NOTHING
    last = f"(?:{_any_case('i')}|\\x{{130}})" if text[-1] == "i" else _any_case(text[-1])
    return "".join(map(_any_case, text[:-1])) + last


def _any_case(letter: str) -> str:
    if letter in _BY_CONTEXT:
        raise InexactError(
            "the lower case of a Greek sigma or a dotted I depends on its neighbours"
        )
    found = {letter, *_upper_of().get(letter, ())}
    return "[" + "".join(f"\\x{{{ord(each):x}}}" for each in sorted(found)) + "]"


@functools.cache
def _upper_of() -> dict[str, list[str]]:
    """Letter in lower case -> the other letters whose lower case it is."""
    found: dict[str, list[str]] = {}
    for code in range(_CASED):
        letter = chr(code)
        lower = letter.lower()
        if lower != letter and len(lower) == 1:
            found.setdefault(lower, []).append(letter)
    return found
