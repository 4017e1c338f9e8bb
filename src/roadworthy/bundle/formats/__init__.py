"""The trained model in the formats of other tools, beside the ONNX graphs that are always there.

One file a format behind one protocol (`_base.Format`). No server opens any of them.
"""

from __future__ import annotations

from roadworthy.bundle.formats._base import Format
from roadworthy.bundle.formats.joblib import Joblib
from roadworthy.bundle.formats.pickle import Pickle
from roadworthy.bundle.formats.skops import Skops

ONNX = "onnx"
EXTRA: dict[str, Format] = {each.name: each for each in (Joblib(), Pickle(), Skops())}
"""Formats that may be asked for, by name; `onnx` is always in."""
FORMATS = (ONNX, *EXTRA)

__all__ = ["EXTRA", "FORMATS", "ONNX", "Format"]
