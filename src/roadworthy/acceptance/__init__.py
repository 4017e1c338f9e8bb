"""Step 6: a packaged model earns its way: golden rows, expected predictions, gates, a champion.

The same tests run in process, against a container and against a server after a swap. Names are
loaded when they are first used: who opens a bundle by its name loads nothing of training.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from roadworthy.acceptance.accepting import accept, gate_bundle, test
    from roadworthy.acceptance.references import resolve, rival

_FILES = {
    "accept": "accepting",
    "gate_bundle": "accepting",
    "resolve": "references",
    "rival": "references",
    "test": "accepting",
}
__all__ = ["accept", "gate_bundle", "resolve", "rival", "test"]


def __getattr__(name: str) -> Any:
    if name not in _FILES:
        raise AttributeError(f"module 'roadworthy.acceptance' has no attribute {name!r}")
    return getattr(importlib.import_module(f"roadworthy.acceptance.{_FILES[name]}"), name)
