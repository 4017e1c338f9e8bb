"""Step 3: the bundle, a model on disk that can be trusted.

Reading, verifying and predicting need the server's runtime set only; `write` and `parity` are
for training and are imported by name. What loads NumPy is loaded when it is first used: the
supervisor of a server verifies bundles and opens none.
"""

import importlib
from typing import TYPE_CHECKING, Any

from roadworthy.bundle.manifest import Manifest, verify

if TYPE_CHECKING:
    from roadworthy.bundle.bundle import Bundle, Golden, load

__all__ = ["Bundle", "Golden", "Manifest", "load", "verify"]


def __getattr__(name: str) -> Any:
    if name not in ("Bundle", "Golden", "load"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module("roadworthy.bundle.bundle"), name)
    globals()[name] = value
    return value
