"""How likely counts are by chance."""

from __future__ import annotations

_LEAST_ROWS = 200


def surprise(count: int, rows: int, usual: float) -> float:
    """How likely so many or more of the rows are, where the usual share is the true one.

    The usual share is known from finitely many rows: half a row is allowed to it.
    """
    from scipy.special import betainc

    if not count:
        return 1.0
    share = min(max(usual, 0.5 / max(rows, _LEAST_ROWS)), 1.0)
    return float(betainc(count, rows - count + 1, share))
