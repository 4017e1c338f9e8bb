"""Labels: what turned out to be true, kept once each and joined to predictions.

The store is loaded when it is first used: without labels nobody needs a database.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from roadworthy.monitor.feedback.checks import label_findings
from roadworthy.monitor.feedback.join import Outcomes, join
from roadworthy.monitor.feedback.reading import read_labels

if TYPE_CHECKING:
    from roadworthy.monitor.feedback.store import Kept, LabelStore, open_labels

__all__ = ["Kept", "LabelStore", "Outcomes", "join", "label_findings", "open_labels", "read_labels"]


def __getattr__(name: str) -> Any:
    if name not in ("Kept", "LabelStore", "open_labels"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("roadworthy.monitor.feedback.store"), name)
