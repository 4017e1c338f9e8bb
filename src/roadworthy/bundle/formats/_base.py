"""What a format of the trained model is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class Format(Protocol):
    """One way of keeping the trained model as a scikit-learn estimator.

    Attributes:
        name: As in `[package] formats`.
        file: The file of the bundle that holds it.
        runs_code: Whether opening the file runs what is in it.
    """

    name: str
    file: str
    runs_code: bool

    def write(self, estimator: Any) -> bytes:
        """The estimator as bytes: the same estimator gives the same bytes.

        Raises:
            InputError: The format cannot hold it.
            OutsideError: The library for it is not installed.
        """
        ...

    def read(self, content: bytes, trusted_types: Sequence[str] = ()) -> Any:
        """The estimator again.

        Args:
            content: The file's bytes, already verified.
            trusted_types: Names of types that may be made besides those known to be harmless, for
                a format that asks.

        Raises:
            CheckFailed: The file is damaged, or holds a type that is not trusted.
            OutsideError: The library for it is not installed.
        """
        ...
