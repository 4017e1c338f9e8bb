"""The prediction log: what was asked and answered, for monitoring and for training anew.

A worker keeps its log in segments of JSON lines (`journal`). `read` gives back what was logged,
wherever it lies. The form of an entry is `Logged`, in each of the places.
"""

from __future__ import annotations

from roadworthy.serve.prediction_log.entries import Logged
from roadworthy.serve.prediction_log.reading import read, read_newest

__all__ = ["Logged", "read", "read_newest"]
