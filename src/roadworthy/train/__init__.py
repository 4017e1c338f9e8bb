"""Step 2: the best model a table allows within a time budget.

Names are loaded when they are first used: who reads the record of a search loads no library of
training.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from roadworthy.train.model import TrainedModel
    from roadworthy.train.record import SearchRecord, Trial
    from roadworthy.train.training import train

_FILES = {
    "SearchRecord": "record",
    "TrainedModel": "model",
    "Trial": "record",
    "train": "training",
}
__all__ = ["SearchRecord", "TrainedModel", "Trial", "train"]


def __getattr__(name: str) -> Any:
    if name not in _FILES:
        raise AttributeError(f"module 'roadworthy.train' has no attribute {name!r}")
    return getattr(importlib.import_module(f"roadworthy.train.{_FILES[name]}"), name)
