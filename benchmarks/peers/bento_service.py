"""The model as a BentoML service: a list of rows in, probabilities out. Its path is in MODEL."""

import os

import bentoml
import joblib
import pandas as pd


@bentoml.service(workers=1)
class Rows:
    """Predicts."""

    def __init__(self) -> None:
        self.model = joblib.load(os.environ["MODEL"])

    @bentoml.api
    def predict(self, rows: list[dict]) -> list[list[float]]:
        """Probabilities of each row."""
        return self.model.predict_proba(pd.DataFrame(rows)).tolist()
