"""`model.joblib`: joblib's compressed pickle."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from roadworthy.bundle.formats.pickle import damaged


class Joblib:
    """See `Format`; opening it runs what is in it."""

    name = "joblib"
    file = "model.joblib"
    runs_code = True

    def write(self, estimator: Any) -> bytes:
        """The estimator as bytes."""
        import joblib

        buffer = io.BytesIO()
        joblib.dump(estimator, buffer, compress=3)
        return buffer.getvalue()

    def read(self, content: bytes, trusted_types: Sequence[str] = ()) -> Any:
        """The estimator again."""
        import joblib

        try:
            return joblib.load(io.BytesIO(content))
        except Exception as error:
            raise damaged(self.file, error) from None
