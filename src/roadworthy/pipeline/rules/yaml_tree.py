"""YAML as a tree that knows its lines, where every scalar is text and no key stands twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

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
    empty = Node("", 1)
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or "it cannot be read"
        found.add("yaml", mark.line + 1 if mark else 1, f"not YAML: {what}", "mend the syntax")
        return empty
    except RecursionError:
        root = None
    count = 0

    def build(node: yaml.Node, depth: int) -> Node:
        nonlocal count
        count += 1
        line = node.start_mark.line + 1
        if count > _MOST_NODES or depth > _DEEPEST:
            raise _TooLargeError
        if isinstance(node, yaml.ScalarNode):
            return Node(node.value, line)
        if isinstance(node, yaml.SequenceNode):
            return Node([build(item, depth + 1) for item in node.value], line)
        entries: dict[str, Node] = {}
        for key, item in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else ""
            if name in entries and name != "<<":
                what = f"the key {name!r} stands twice: the first is lost"
                found.add("twice", key.start_mark.line + 1, what, "keep one of them")
            entries[name] = build(item, depth + 1)
        return Node(entries, line)

    try:
        return build(root, 0) if root is not None else empty
    except _TooLargeError:
        found.add("yaml", 1, "the file is too large or too deep", "split it")
        return empty


class _TooLargeError(Exception):
    pass
