"""The core: everything numeric after the plan as one ONNX graph, `[N, F]` -> `[N, K]`.

For two classes a graph may give one column, the second class's probability. `export_core` writes
an estimator of any known kind; `write_core` writes it into a graph that others go on with.
"""

from roadworthy.bundle.core.export import Scores, export_core, export_margin, write_core
from roadworthy.bundle.core.graph import INPUT, OUTPUT, Graph

__all__ = ["INPUT", "OUTPUT", "Graph", "Scores", "export_core", "export_margin", "write_core"]
