"""A Jenkinsfile as nested blocks: enough of Groovy to know what stands in what."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from roadworthy.pipeline.rules._base import Findings

_TOKEN = re.compile(
    r"""(?P<comment>//[^\n]*|/\*.*?\*/)
      |(?P<string>'''(?:\\.|[^\\])*?'''|\"\"\"(?:\\.|[^\\])*?\"\"\"
         |'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*")
      |(?P<word>[A-Za-z_@][\w.]*|\d+(?:\.\d+)?)
      |(?P<line>\n|;)
      |(?P<space>[ \t\r]+)
      |(?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)


class Token(NamedTuple):
    """A word, a string or a sign.

    Attributes:
        kind: `word`, `string` or `other`.
        text: As it is written.
        line: Its line, counted from 1.
    """

    kind: str
    text: str
    line: int

    @property
    def value(self) -> str:
        """A string's content."""
        wide = self.text[:3] in ("'''", '"""')
        inner = self.text[3:-3] if wide else self.text[1:-1]
        return re.sub(r"\\(.)", r"\1", inner, flags=re.DOTALL)

    @property
    def replaces(self) -> bool:
        """Whether Groovy puts values into the string."""
        return self.kind == "string" and self.text[0] == '"'


class Block:
    """A statement, and what stands in its braces.

    Args:
        head: Its tokens before the brace.
        parent: The block it stands in.
    """

    def __init__(self, head: list[Token], parent: Block | None) -> None:
        self.head = head
        self.parent = parent
        self.children: list[Block] = []
        self.braces = False

    @property
    def name(self) -> str:
        """Its first word."""
        return self.head[0].text if self.head and self.head[0].kind == "word" else ""

    @property
    def line(self) -> int:
        """Its line, counted from 1."""
        return self.head[0].line if self.head else 1

    @property
    def strings(self) -> list[Token]:
        """The strings of its head."""
        return [token for token in self.head if token.kind == "string"]

    def named(self, name: str) -> Token | None:
        """The value of a named argument."""
        for at, token in enumerate(self.head[:-2]):
            if token.text == name and self.head[at + 1].text == ":":
                return self.head[at + 2]
        return None

    def arguments(self) -> list[Token]:
        """The names of its named arguments, not those of calls within it."""
        found, depth = [], 0
        for at, token in enumerate(self.head[:-1]):
            if token.text in "([":
                depth += 1
            elif token.text in ")]":
                depth -= 1
            outer = depth == 0 or (depth == 1 and self.head[1].text == "(")
            before = self.head[at - 1].text if at else ""
            if token.kind == "word" and self.head[at + 1].text == ":" and outer and before != "?":
                found.append(token)
        return found

    def walk(self) -> Iterator[Block]:
        """All blocks within, depth first."""
        for child in self.children:
            yield child
            yield from child.walk()

    def within(self) -> Iterator[Block]:
        """The blocks that it stands in, the nearest first."""
        block = self.parent
        while block is not None:
            yield block
            block = block.parent

    def child(self, name: str) -> Block | None:
        """The first child of a name."""
        return next((child for child in self.children if child.name == name), None)


def read_groovy(text: str, found: Findings) -> Block:
    """Read a Jenkinsfile; unbalanced braces and strings become findings."""
    root = current = Block([], None)
    root.braces = True
    head: list[Token] = []
    line, depth = 1, 0

    def end() -> None:
        nonlocal head
        if head:
            current.children.append(Block(head, current))
            head = []

    for match in _TOKEN.finditer(text):
        kind, word = str(match.lastgroup), match[0]
        token = Token(kind, word, line)
        line += word.count("\n")
        if kind == "line" and depth == 0:
            end()
        if kind in ("comment", "space", "line"):
            continue
        if word in ("'", '"'):
            found.add("groovy", token.line, "a string has no end", "close it")
        if word in "([":
            depth += 1
        elif word in ")]":
            depth = max(0, depth - 1)
        if word == "{":
            block = Block(head, current)
            block.braces = True
            current.children.append(block)
            current, head, depth = block, [], 0
        elif word == "}":
            end()
            if current.parent is None:
                found.add("groovy", token.line, "a brace closes what never opened", "take it away")
            else:
                current = current.parent
        else:
            head.append(token)
    end()
    if current.parent is not None:
        found.add("groovy", current.line, f"`{current.name}` is never closed", "add the brace")
    return root
