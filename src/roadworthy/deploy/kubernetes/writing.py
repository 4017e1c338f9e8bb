"""Manifests as YAML: written in one order, and read with doubled keys refused."""

from __future__ import annotations

from typing import Any

from roadworthy.errors import InputError, OutsideError


def to_yaml(documents: list[dict[str, Any]]) -> str:
    """Documents as one YAML stream, in their own order of keys.

    Raises:
        OutsideError: PyYAML is not installed.
    """
    yaml = _yaml()

    class Dumper(yaml.SafeDumper):  # type: ignore[misc,name-defined]
        def ignore_aliases(self, data: Any) -> bool:  # a repeated part is written out
            return True

    text: str = yaml.dump_all(
        documents, Dumper=Dumper, sort_keys=False, explicit_start=True, width=100
    )
    return text


def read_yaml(text: str, where: str = "the manifests") -> list[dict[str, Any]]:
    """The documents of a YAML stream; empty ones are left out.

    Raises:
        InputError: It is no YAML, a document is no mapping, or a key stands twice in one.
        OutsideError: PyYAML is not installed.
    """
    yaml = _yaml()

    class Loader(yaml.SafeLoader):  # type: ignore[misc,name-defined]
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            keys = [key.value for key, _ in node.value]
            twice = next((key for key in keys if keys.count(key) > 1), None)
            if twice is not None:
                line = node.start_mark.line + 1
                raise InputError(f"key {twice!r} stands twice", where=f"{where}, line {line}")
            return super().construct_mapping(node, deep)

    try:
        found = [document for document in yaml.load_all(text, Loader) if document is not None]
    except yaml.YAMLError as error:
        first_line = str(error).splitlines()[0]
        raise InputError(f"not YAML: {first_line}", where=where) from None
    if not all(isinstance(document, dict) for document in found):
        raise InputError("a document is no mapping", where=where)
    return found


def _yaml() -> Any:
    try:
        import yaml
    except ModuleNotFoundError:
        raise OutsideError(
            "PyYAML is not installed", fix="pip install 'roadworthy[kubernetes]'"
        ) from None
    return yaml
