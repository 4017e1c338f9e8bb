"""Blocks of Groovy, as a Jenkinsfile has them."""

from __future__ import annotations

from collections.abc import Iterable

Lines = list[str]


def block(head: str, *parts: str | Iterable[str]) -> Lines:
    """A block in braces.

    Args:
        head: What stands before the brace.
        parts: Its lines, or lists of lines; what is empty is left out.
    """
    inner = [line for part in parts for line in ([part] if isinstance(part, str) else part)]
    return [f"{head} {{", *(f"  {line}" if line else line for line in inner if line), "}"]


def quoted(text: str) -> str:
    """A text that Groovy takes as it is."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def indented(lines: Iterable[str], depth: int) -> str:
    """Lines as a text, indented by steps of two spaces."""
    return "".join(f"{'  ' * depth}{line}".rstrip() + "\n" for line in lines)
