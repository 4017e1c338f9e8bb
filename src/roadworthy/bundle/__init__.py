"""Step 3: the bundle, a model on disk that can be trusted.

Reading, verifying and predicting need the server's runtime set only; `write` and `parity` are
for training and are imported by name.
"""

from roadworthy.bundle.bundle import Bundle, Golden, load
from roadworthy.bundle.manifest import Manifest, verify

__all__ = ["Bundle", "Golden", "Manifest", "load", "verify"]
