"""What a graph cannot say exactly."""

from __future__ import annotations


class InexactError(Exception):
    """A column, or a model, that no graph reads as the plan does; the message says why."""
