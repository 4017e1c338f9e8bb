"""Where a long job stands: what training reports and the command line shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Progress(NamedTuple):
    """Where a long job stands.

    Attributes:
        step: What is being done.
        detail: What of it.
        done: Parts done, of `total`.
        total: Parts in this step, as far as known.
        best: The best score so far.
        metric: What the score is.
    """

    step: str
    detail: str = ""
    done: int = 0
    total: int = 0
    best: float | None = None
    metric: str = ""


Report = Callable[[Progress], None]
