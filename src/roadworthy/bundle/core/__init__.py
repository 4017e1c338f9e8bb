"""The core: everything numeric after the plan as one ONNX graph, `[N, F]` -> `[N, K]`.

For two classes a graph may give one column, the second class's probability. To add a family,
write its exporter's file and name it here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from roadworthy.bundle.core.boosting import export_boosting
from roadworthy.bundle.core.forest import export_forest
from roadworthy.bundle.core.linear import export_linear

EXPORTERS: dict[str, Callable[[Any, int], bytes]] = {
    "linear": export_linear,
    "forest": export_forest,
    "boosting": export_boosting,
}

__all__ = ["EXPORTERS"]
