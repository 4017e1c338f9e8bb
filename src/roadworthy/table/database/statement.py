"""What a query says, as far as one must know before a database is asked to run it."""

from __future__ import annotations

import re
from typing import NamedTuple

from roadworthy.errors import InputError

_TOKEN = re.compile(
    r"""
    (?P<skip>\s+|--[^\n]*|/\*.*?\*/)
    |(?P<quoted>[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`
        |(?P<dollar>\$[A-Za-z_]?\w*\$).*?(?P=dollar))
    |(?P<word>[^\W\d][\w$]*)
    |(?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_READS = ("SELECT", "WITH", "VALUES", "TABLE")
_WHERE = "[data] query"


class Statement(NamedTuple):
    """A query that reads.

    Attributes:
        text: The query, without what ends it.
        ordered: Whether it says itself in which order its rows come.
    """

    text: str
    ordered: bool


def read_statement(query: str) -> Statement:
    """Refuse what is no single query; a database that is asked read-only refuses the rest.

    Raises:
        InputError: It is empty, begins with another word than a query, or holds several.
    """
    if "\0" in query:
        raise InputError("the query holds a NUL character", where=_WHERE)
    depth, ended, ordered = 0, False, False
    first = before = ""
    stop = 0
    for found in _TOKEN.finditer(query):
        if found["skip"]:
            continue
        if ended:
            raise InputError("more than one statement", where=_WHERE, fix="write one query")
        if found["other"] == ";" and depth == 0:
            ended = True
            continue
        stop = found.end()
        depth += {"(": 1, ")": -1}.get(found["other"] or "", 0)
        if depth < 0:
            raise InputError("a ) that closes nothing", where=place(query, found.start()))
        word = (found["word"] or found["other"] or "'").upper()
        first = first or word.strip("(")
        if depth == 0:
            ordered = ordered or (before, word) == ("ORDER", "BY")
            before = word
    if not first:
        raise InputError("the query is empty", where=_WHERE)
    if first not in _READS:
        raise InputError(
            f"only a query that reads is run, and this begins with {first}",
            where=_WHERE,
            fix="write one SELECT",
        )
    return Statement(query[:stop], ordered)


def place(query: str, offset: int) -> str:
    """Line and column of a query, for people.

    Args:
        query: The query.
        offset: A character of it, from 0.
    """
    before = query[: max(0, offset)]
    column = len(before) - (before.rfind("\n") + 1) + 1
    return f"{_WHERE}, line {before.count(chr(10)) + 1}, column {column}"
