"""Plain data as YAML that a person would have written, with comments where they are asked for."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

_PLAIN = re.compile(r"([A-Za-z_/$]|\.[A-Za-z/]|\d+ [a-z])[!-~ ]*")
_NOT_PLAIN = re.compile(r": |\s#|[:\s]$")
_NOT_TEXT = re.compile(r"(?i)true|false|yes|no|on|off|null|y|n|\.inf|\.nan")
_KEY = re.compile(r"[A-Za-z_./][\w./-]*")
_LINE = re.compile(r"[ -~]*[!-~]|")


class Noted(NamedTuple):
    """A value with a comment behind it."""

    value: str
    note: str


def emit(value: dict[str, Any] | list[Any], depth: int = 0) -> str:
    """Plain data as YAML.

    Args:
        value: Dictionaries, lists, texts, numbers, booleans and `Noted` texts.
        depth: How many steps of two spaces it is indented.
    """
    if not value:
        lines = _scalar(value)
    else:
        lines = _mapping(value) if isinstance(value, dict) else _sequence(value)
    return "".join(f"{'  ' * depth}{line}".rstrip() + "\n" for line in lines)


def _mapping(value: dict[str, Any]) -> list[str]:
    lines = []
    for key, item in value.items():
        plain = _KEY.fullmatch(key) and (key == "on" or not _NOT_TEXT.fullmatch(key))
        named = key if plain else _quote(key)  # GitHub's files say on:
        if isinstance(item, (dict, list)) and item:
            lines.append(f"{named}:")
            below = _mapping(item) if isinstance(item, dict) else _sequence(item)
            lines += [f"  {line}" for line in below]
        else:
            first, *rest = _scalar(item)
            lines += [f"{named}: {first}", *(f"  {line}" for line in rest)]
    return lines


def _sequence(value: list[Any]) -> list[str]:
    lines = []
    for item in value:
        if isinstance(item, (dict, list)) and item:
            first, *rest = _mapping(item) if isinstance(item, dict) else _sequence(item)
        else:
            first, *rest = _scalar(item)
        lines += [f"- {first}", *(f"  {line}" for line in rest)]
    return lines


def _scalar(value: Any) -> list[str]:
    if isinstance(value, Noted):
        return [f"{_text(value.value)} # {value.note}"]
    if isinstance(value, bool):
        return ["true" if value else "false"]
    if isinstance(value, (int, float)):
        return [str(value)]
    if not isinstance(value, str):
        return ["{}" if isinstance(value, dict) else "[]"]
    lines = value.removesuffix("\n").split("\n")
    if len(lines) > 1 and all(map(_LINE.fullmatch, lines)) and lines[-1] and lines[0][:1].strip():
        return ["|" if value.endswith("\n") else "|-", *lines]
    return [_text(value)]


def _text(text: str) -> str:
    plain = _PLAIN.fullmatch(text) and not _NOT_PLAIN.search(text)
    return text if plain and not _NOT_TEXT.fullmatch(text) else _quote(text)


def _quote(text: str) -> str:
    return '"' + "".join(map(_escape, text)) + '"'


def _escape(letter: str) -> str:
    if letter in '"\\':
        return "\\" + letter
    if " " <= letter <= "~":
        return letter
    code = ord(letter)
    return (
        f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
    )
