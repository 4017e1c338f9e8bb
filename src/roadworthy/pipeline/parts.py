"""Files that we and a person write together: our parts are marked, everything else is theirs.

A part stands between two comments, the first of which holds the digest of what we wrote. A part
whose digest is another was changed by a person: it is never overwritten. A list at the head of the
file says which parts we ever wrote, so that one which a person took out stays out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from typing import Literal, NamedTuple

from roadworthy.errors import InputError

State = Literal["missing", "outdated", "edited", "removed", "surplus", "foreign"]
_BEGIN = re.compile(
    r"[ \t]*(?:#|//) roadworthy:begin (?P<name>[\w.-]+) (?P<digest>[0-9a-f]{16})\s*"
)
_END = re.compile(r"[ \t]*(?:#|//) roadworthy:end (?P<name>[\w.-]+)\s*")
_LINES = re.compile(r"[^\n]*\n|[^\n]+")
_LIST = re.compile(r"(?m)^(?:#|//) roadworthy:parts(?P<names>( [\w.-]+)*)[ \t]*\r?\n?")


class Part(NamedTuple):
    """A part of a file.

    Attributes:
        name: Its name, unique in the file.
        body: Its lines, each with its end.
    """

    name: str
    body: str


class Plan(NamedTuple):
    """A file as we would write it.

    Attributes:
        path: Where, from the project's folder.
        comment: How a line of comment begins: `#` or `//`.
        about: What a person should know, one line.
        parts: Its parts, in order.
        suffices: What a file that is a person's own must say for all to be well.
    """

    path: str
    comment: str
    about: str
    parts: tuple[Part, ...]
    suffices: str = ""


class Difference(NamedTuple):
    """How a part of a file differs from what we would write.

    Attributes:
        part: Its name; "" for the whole file.
        state: `missing` (we would add it), `outdated` (we would write it anew), `edited` (a person
            changed it and it differs), `removed` (a person took it out), `surplus` (we would take
            it out), `foreign` (the whole file is a person's).
    """

    part: str
    state: State


class Merged(NamedTuple):
    """What comes of a file.

    Attributes:
        text: Its new text; as it was where nothing may change.
        differences: How the old text differed.
    """

    text: str
    differences: tuple[Difference, ...]


class _Found(NamedTuple):
    """A piece of a file: a person's text when the name is None, else a part of ours."""

    name: str | None
    body: str
    digest: str = ""

    @property
    def edited(self) -> bool:
        return self.digest != _digest(self.body)


def merge(old: str | None, plan: Plan, own: Collection[str] = ()) -> Merged:
    """Bring a file up to date without touching what a person wrote.

    Args:
        old: The file as it is; None when there is none.
        plan: The file as we would write it.
        own: Parts that a person looks after: left as they are, and not told of.

    Returns:
        The new text and how the old one differed. Merging the new text again changes nothing.

    Raises:
        InputError: A mark stands without its partner, twice, or in another part.
    """
    if old is None:
        pieces = [piece for part in plan.parts for piece in (_ours(part), _Found(None, "\n"))][:-1]
        head = f"{plan.comment} {plan.about}\n{_names(plan, [])}\n"
        text = head + "".join(_render(piece, plan.comment) for piece in pieces)
        return Merged(text, (Difference("", "missing"),))
    windows = 0 < old.count("\n") == old.count("\r\n")
    text = old.replace("\r\n", "\n") if windows else old
    pieces, listed = _split(text, plan.path)
    if listed is None:
        served = bool(plan.suffices) and plan.suffices in old
        return Merged(old, () if served else (Difference("", "foreign"),))
    merged, differences = _merge(pieces, listed, plan, own)
    text = "".join(_render(piece, plan.comment) for piece in merged)
    text = _LIST.sub(lambda _: _names(plan, listed) + "\n", text, count=1)
    return Merged(text.replace("\n", "\r\n") if windows else text, tuple(differences))


def _merge(
    pieces: list[_Found], listed: list[str], plan: Plan, own: Collection[str]
) -> tuple[list[_Found], list[Difference]]:
    wanted = {part.name: part for part in plan.parts}
    there = {piece.name: piece for piece in pieces if piece.name}
    merged, differences = [], []
    for piece in pieces:
        if piece.name is None or piece.name in own:
            merged.append(piece)
            continue
        part = wanted.get(piece.name)
        if part is not None and part.body == piece.body:
            merged.append(_ours(part))
        elif piece.edited:
            differences.append(Difference(piece.name, "edited"))
            merged.append(piece)
        elif part is None:
            differences.append(Difference(piece.name, "surplus"))
        else:
            differences.append(Difference(piece.name, "outdated"))
            merged.append(_ours(part))
    for name, part in wanted.items():
        if name in there or name in own:
            continue
        if name in listed:
            differences.append(Difference(name, "removed"))
        else:
            differences.append(Difference(name, "missing"))
            _insert(merged, part, [each.name for each in plan.parts])
    return merged, differences


def _insert(merged: list[_Found], part: Part, order: list[str]) -> None:
    places = {piece.name: index for index, piece in enumerate(merged) if piece.name}
    place = order.index(part.name)
    before = [places[name] for name in order[:place] if name in places]
    after = [places[name] for name in order[place + 1 :] if name in places]
    if before:
        at = max(before) + 1
        merged[at:at] = [_Found(None, "\n"), _ours(part)]
    elif after:
        at = min(after)
        merged[at:at] = [_ours(part), _Found(None, "\n")]
    else:
        merged.append(_ours(part))


def _ours(part: Part) -> _Found:
    return _Found(part.name, part.body, _digest(part.body))


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()[:16]


def _names(plan: Plan, listed: list[str]) -> str:
    names = dict.fromkeys([*listed, *(part.name for part in plan.parts)])
    return " ".join([f"{plan.comment} roadworthy:parts", *names])


def _render(piece: _Found, comment: str) -> str:
    if piece.name is None:
        return piece.body
    indent = piece.body[: len(piece.body) - len(piece.body.lstrip(" "))]
    return (
        f"{indent}{comment} roadworthy:begin {piece.name} {piece.digest}\n"
        f"{piece.body}{indent}{comment} roadworthy:end {piece.name}\n"
    )


def _split(text: str, path: str) -> tuple[list[_Found], list[str] | None]:
    pieces: list[_Found] = []
    listed: list[str] | None = None
    opened: re.Match[str] | None = None
    lines: list[str] = []
    for number, line in enumerate(_LINES.findall(text), 1):
        begin, end, names = (rule.fullmatch(line) for rule in (_BEGIN, _END, _LIST))
        where = f"{path}, line {number}"
        if opened is None and names is not None and listed is None:
            listed = names["names"].split()
        if begin is None and end is None:
            lines.append(line)
            continue
        if begin is not None:
            if opened is not None or any(piece.name == begin["name"] for piece in pieces):
                raise InputError(f"part {begin['name']!r} begins where it may not", where=where)
            pieces.append(_Found(None, "".join(lines)))
            opened = begin
        elif end is not None:
            if opened is None or opened["name"] != end["name"]:
                raise InputError(f"part {end['name']!r} ends but never began", where=where)
            pieces.append(_Found(end["name"], "".join(lines), opened["digest"]))
            opened = None
        lines = []
    if opened is not None:
        raise InputError(
            f"part {opened['name']!r} has no end",
            where=path,
            fix=f"put back the line `roadworthy:end {opened['name']}`",
        )
    pieces.append(_Found(None, "".join(lines)))
    return [piece for piece in pieces if piece.name or piece.body], listed
