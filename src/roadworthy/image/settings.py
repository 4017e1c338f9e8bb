"""A project file, written: what a server is told that runs far from its project."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


def settings_text(sections: Mapping[str, Mapping[str, Any]]) -> str:
    """The TOML of some sections, which `load_project` reads back to the same values.

    Args:
        sections: Values by section and key: texts, numbers, truth values and lists of them. A
            section without a value is left out.
    """
    lines = []
    for name, values in sections.items():
        if values:
            lines += [f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in values.items())]
    return "\n".join([*lines, ""])


def _toml(value: Any) -> str:
    # these values are the same in JSON and in TOML, but for one character
    return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")
