"""`model.pkl`: Python's own pickle."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

from roadworthy.errors import CheckFailed

_PROTOCOL = 5


class Pickle:
    """See `Format`; opening it runs what is in it."""

    name = "pickle"
    file = "model.pkl"
    runs_code = True

    def write(self, estimator: Any) -> bytes:
        """The estimator as bytes."""
        return pickle.dumps(estimator, protocol=_PROTOCOL)

    def read(self, content: bytes, trusted_types: Sequence[str] = ()) -> Any:
        """The estimator again."""
        try:
            return pickle.loads(content)
        except Exception as error:
            raise damaged(self.file, error) from None


def damaged(file: str, error: Exception) -> CheckFailed:
    """What is said of a file that cannot be opened, whatever its reader raised."""
    return CheckFailed(
        f"{file} cannot be opened: {type(error).__name__}: {str(error)[:200]}",
        fix="open it in the environment that made it (requirements-train.txt), or package again",
    )
