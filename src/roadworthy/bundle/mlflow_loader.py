"""What MLflow calls to serve a bundle: the loader module of an exported MLflow folder.

It needs the server's runtime set and pandas, which MLflow brings.
"""

from __future__ import annotations

from typing import Any

from roadworthy.bundle.bundle import Bundle
from roadworthy.project import load_project


class Served:
    """A bundle behind MLflow's `predict`."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """Predict rows.

        Args:
            model_input: A pandas data frame, one mapping or a list of mappings.
            params: MLflow's parameters; there are none.

        Returns:
            A pandas data frame with `prediction`, and `probability_NAME` for each class or the ends
            of an interval.

        Raises:
            RowsError: Rows break the contract.
        """
        import pandas

        rows = model_input
        if isinstance(rows, pandas.DataFrame):
            rows = rows.to_dict("records")
        answers = self.bundle.predict([rows] if isinstance(rows, dict) else list(rows))
        columns: dict[str, list[Any]] = {"prediction": [each["prediction"] for each in answers]}
        for name in self.bundle.contract.target.class_names:
            columns[f"probability_{name}"] = [each["probabilities"][name] for each in answers]
        if self.bundle.contract.target.interval is not None:
            for place, end in enumerate(("low", "high")):
                columns[end] = [each["interval"][place] for each in answers]
        return pandas.DataFrame(columns)


def _load_pyfunc(path: str) -> Served:
    """Open the bundle in an MLflow folder, by the trusted keys of the project here."""
    return Served(Bundle(path, trusted_keys=load_project().registry.trusted_keys))
