"""Documents in which `${NAME}` stands for what only the cloud knows before something is made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_KNOWN = re.compile(r"\$\{([a-z0-9.-]+)\}")


def fill(value: Any, known: Mapping[str, str]) -> Any:
    """A document in which `${NAME}` is replaced by what is known under that name.

    Raises:
        KeyError: It is not known.
    """
    if isinstance(value, str):
        return _KNOWN.sub(lambda found: known[found[1]], value)
    if isinstance(value, list):
        return [fill(each, known) for each in value]
    if isinstance(value, dict):
        return {key: fill(each, known) for key, each in value.items()}
    return value
