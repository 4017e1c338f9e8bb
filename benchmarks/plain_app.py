"""The plain way: FastAPI, a pandas frame, a scikit-learn pipeline. `plain_app.py BUNDLE PORT`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import uvicorn
from fastapi import FastAPI


def make_app(folder: Path) -> FastAPI:
    pipeline = joblib.load(folder / "model.joblib")
    app = FastAPI()

    @app.post("/predict")
    def predict(row: dict[str, Any]) -> dict[str, Any]:
        shares = pipeline.predict_proba(pd.DataFrame([row]))[0]
        return {"prediction": int(shares.argmax()), "probabilities": shares.tolist()}

    @app.post("/predict_many")
    def predict_many(rows: list[dict[str, Any]]) -> dict[str, Any]:
        shares = pipeline.predict_proba(pd.DataFrame(rows))
        return {"predictions": shares.argmax(axis=1).tolist(), "probabilities": shares.tolist()}

    @app.get("/readyz")
    def ready() -> dict[str, str]:
        return {"status": "ready"}

    return app


if __name__ == "__main__":
    application = make_app(Path(sys.argv[1]))
    uvicorn.run(application, port=int(sys.argv[2]), log_level="warning", access_log=False)
