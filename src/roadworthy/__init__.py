"""Roadworthy: from a table to a prediction service you can trust.

```python
import roadworthy as rw

table = rw.read_table("adult.csv", target="income")
findings = rw.inspect(table)
model = rw.train(table, budget="60s")
report = rw.test(model, table.holdout)
bundle = rw.package(model, report, formats=["onnx", "joblib"])
bundle.predict({"age": 39, ...})
rw.serve(bundle, port=8080)
```

Names are loaded when they are first used: a server that imports this package loads nothing of
training.
"""

from __future__ import annotations

import importlib
import os
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from roadworthy.acceptance import test
    from roadworthy.bundle import Bundle, load
    from roadworthy.bundle.write import package
    from roadworthy.contract import Contract
    from roadworthy.errors import CheckFailed, InputError, OutsideError, RoadworthyError
    from roadworthy.evaluate import Report, backtest, learning_curve
    from roadworthy.evaluate.verdict import Verdict
    from roadworthy.guard import Finding, inspect
    from roadworthy.project import Project, load_project
    from roadworthy.serve import serve
    from roadworthy.table import Table, read_table
    from roadworthy.train import TrainedModel, train

__version__ = "0.1.0"

# ONNX Runtime would note what it does, under an identifier of this machine, and send it. It reads
# this when it is imported, by whichever room comes first.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_ROOMS = {
    "Bundle": "bundle",
    "CheckFailed": "errors",
    "Contract": "contract",
    "Finding": "guard",
    "InputError": "errors",
    "OutsideError": "errors",
    "Project": "project",
    "Report": "evaluate",
    "RoadworthyError": "errors",
    "Table": "table",
    "TrainedModel": "train",
    "inspect": "guard",
    "Verdict": "evaluate.verdict",
    "backtest": "evaluate",
    "learning_curve": "evaluate",
    "load": "bundle",
    "load_project": "project",
    "package": "bundle.write",
    "read_table": "table",
    "serve": "serve",
    "test": "acceptance",
    "train": "train",
}
__all__ = [
    "Bundle",
    "CheckFailed",
    "Contract",
    "Finding",
    "InputError",
    "OutsideError",
    "Project",
    "Report",
    "RoadworthyError",
    "Table",
    "TrainedModel",
    "inspect",
    "Verdict",
    "backtest",
    "learning_curve",
    "load",
    "load_project",
    "package",
    "read_table",
    "serve",
    "test",
    "train",
]


class _Package(types.ModuleType):
    """The package, in which `train` and `serve` are the functions, not the rooms.

    Importing a submodule makes Python write the submodule over the name in its package. Here the
    public function keeps the name; the room is reached by `from roadworthy.train import …`.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _ROOMS and isinstance(value, types.ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'roadworthy' has no attribute {name!r}")
    try:
        room = importlib.import_module(f"roadworthy.{_ROOMS[name]}")
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.startswith("roadworthy"):
            raise
        raise ModuleNotFoundError(
            f"roadworthy.{name} needs {error.name!r}: pip install 'roadworthy[train]'",
            name=error.name,
        ) from None
    value = getattr(room, name)
    globals()[name] = value
    return value
