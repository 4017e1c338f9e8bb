"""YAML as a tree that knows its lines, where every scalar is text and no key stands twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from roadworthy.errors import OutsideError
from roadworthy.pipeline.rules._base import Findings

_MOST_NODES = 50_000
_DEEPEST = 60


class Node(NamedTuple):
    """A place in a YAML file.

    Attributes:
        value: Text, a list of nodes, or nodes by key.
        line: Its line, counted from 1.
    """

    value: str | list[Node] | dict[str, Node]
    line: int

    def get(self, key: str) -> Node:
        """What stands under a key; a node of empty text when there is none."""
        empty = Node("", self.line)
        return self.value.get(key, empty) if isinstance(self.value, dict) else empty

    @property
    def text(self) -> str:
        """The scalar's text; "" for anything else."""
        return self.value if isinstance(self.value, str) else ""

    @property
    def entries(self) -> dict[str, Node]:
        """The mapping's entries; none for anything else."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def items(self) -> list[Node]:
        """The sequence's items, or the scalar as the only one."""
        if isinstance(self.value, list):
            return self.value
        return [self] if self.value and isinstance(self.value, str) else []

    def scalars(self) -> Iterator[tuple[str, Node]]:
        """Every scalar below, with the key that it stands under."""
        if isinstance(self.value, dict):
            for key, node in self.value.items():
                if isinstance(node.value, dict):
                    yield from node.scalars()
                else:
                    for item in node.items:
                        yield from item.scalars() if not item.text else [(key, item)]
        elif isinstance(self.value, list):
            for item in self.value:
                yield from item.scalars() if not item.text else [("", item)]


def read_yaml(text: str, found: Findings) -> Node:
    """Read a YAML file; what is wrong with it as YAML becomes a finding.

    Raises:
        OutsideError: The extra `pipeline` is not installed.
    """
    try:
        import yaml
    except ModuleNotFoundError:
        raise OutsideError(
            "to check files of CI systems a reader of YAML is needed",
            fix="pip install 'roadworthy[pipeline]'",
        ) from None
    try:
        return _Builder(yaml.parse(text, Loader=yaml.SafeLoader), found).build()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or "it cannot be read"
        line = min(mark.line, text.count("\n")) + 1 if mark else 1
        found.add("yaml", line, f"not YAML: {what}", "mend the syntax")
    except _TooLargeError:
        found.add("yaml", 1, "the file is too large or too deep", "split it")
    return Node("", 1)


class _TooLargeError(Exception):
    pass


class _Builder:
    """Builds the tree from the parser's events, so that it can stop at a file made to harm."""

    def __init__(self, events: Iterator[Any], found: Findings) -> None:
        self.events = events
        self.found = found
        self.anchors: dict[str, tuple[Node, int]] = {}
        self.count = 0

    def build(self) -> Node:
        """The first document."""
        for event in self.events:
            kind = type(event).__name__
            if kind in ("ScalarEvent", "AliasEvent", "SequenceStartEvent", "MappingStartEvent"):
                root = self._node(event, 0)
                for _ in self.events:  # what follows must be YAML, too
                    self._add(1)
                return root
        return Node("", 1)

    def _add(self, nodes: int) -> None:
        self.count += nodes
        if self.count > _MOST_NODES:
            raise _TooLargeError

    def _node(self, event: Any, depth: int) -> Node:
        self._add(1)
        before, line = self.count, event.start_mark.line + 1
        kind = type(event).__name__
        if depth > _DEEPEST:
            raise _TooLargeError
        if kind == "AliasEvent":
            node, size = self.anchors.get(event.anchor, (Node("", line), 1))
            self._add(size)
            return node
        if kind == "ScalarEvent":
            node = Node(event.value, line)
        elif kind == "SequenceStartEvent":
            node = Node([self._node(item, depth + 1) for item in self._until("Sequence")], line)
        else:
            node = Node(self._entries(depth), line)
        if event.anchor:
            self.anchors[event.anchor] = (node, self.count - before + 1)
        return node

    def _until(self, kind: str) -> Iterator[Any]:
        for event in self.events:
            if type(event).__name__ == f"{kind}EndEvent":
                return
            yield event

    def _entries(self, depth: int) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        for event in self._until("Mapping"):
            name = self._node(event, depth + 1).text
            if name in entries and name != "<<":
                what = f"the key {name!r} stands twice: the first is lost"
                self.found.add("twice", event.start_mark.line + 1, what, "keep one of them")
            entries[name] = self._node(next(self.events), depth + 1)
        return entries
