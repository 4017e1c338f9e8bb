"""Step 6: a packaged model earns its way: golden rows, expected predictions, gates, a champion.

The same tests run in process, against a container and against a server after a swap.
"""

from roadworthy.acceptance.accept import accept, gate_bundle, test
from roadworthy.acceptance.references import resolve, rival

__all__ = ["accept", "gate_bundle", "resolve", "rival", "test"]
