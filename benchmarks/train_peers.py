"""One system of `train_quality`, run by the interpreter of its own environment.

Called as `python train_peers.py NAME FOLDER TASK METRIC BUDGET SEED`; reads `train.parquet` and
`test.parquet`, writes `NAME.npy` (scores) and `NAME.json` (seconds, megabytes, microseconds).
"""

from __future__ import annotations

import json
import pickle
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

_READING = ["pandas<3", "pyarrow"]
PEERS: dict[str, list[str]] = {
    "roadworthy": [],
    "autogluon_medium": ["autogluon.tabular[lightgbm,catboost,xgboost,fastai]", *_READING],
    "flaml": ["flaml[automl]", "catboost", *_READING],
    "grid_forest": ["scikit-learn", *_READING],
    "lightgbm_default": ["lightgbm", "scikit-learn", *_READING],
}
"""System -> what its environment needs; ours is the one that runs the benchmark."""
TARGET = "__target__"


class Job(NamedTuple):
    """What to train on: data frames, task, metric, seconds, seed and a folder to write in."""

    train: Any
    test: Any
    task: str
    metric: str
    budget: float
    seed: int
    folder: Path


class Result(NamedTuple):
    """Scores of the test rows, seconds of training, bytes, and how to predict one row."""

    scores: Any
    seconds: float
    size: int
    one: Callable[[], Any]


def roadworthy(job: Job) -> Result:
    """Ours: train, package, and one row from JSON through the bundle's engine."""
    import msgspec
    import polars as pl

    from roadworthy.bundle.frames import json_rows
    from roadworthy.bundle.write import package
    from roadworthy.evaluate import test
    from roadworthy.project import Project
    from roadworthy.table import read_table
    from roadworthy.train import train

    start = time.monotonic()
    # the test rows have a file of their own, so as little as may be is held out for the report
    project = Project().override("data", holdout=0.02).override("train", seed=job.seed)
    project = project.override("data", task=job.task)
    frame = pl.read_parquet(job.folder / "train.parquet")
    table = read_table(frame, TARGET, project=project, name="model")
    model = train(table, job.budget, project=project, started=start)
    bundle = package(model, test(model, table.holdout), directory=job.folder / "bundles")
    seconds = time.monotonic() - start
    held = pl.read_parquet(job.folder / "test.parquet")
    from roadworthy.table.conform import conform

    rows = conform(held, bundle.contract)
    scores = model.scores(rows)
    engine = bundle.engine
    body = msgspec.json.encode(json_rows(rows.head(1), bundle.contract)[0])
    size = sum(entry.size for entry in bundle.manifest.files.values())
    return Result(
        scores, seconds, size, lambda: engine.run_one(engine.rows.encode(engine.decode(body))[0])
    )


def autogluon_medium(job: Job) -> Result:
    """AutoGluon's medium quality, as it is deployed."""
    from autogluon.tabular import TabularPredictor

    metrics = {"rmse": "root_mean_squared_error"}
    start = time.monotonic()
    predictor = TabularPredictor(
        TARGET,
        problem_type=job.task,
        eval_metric=metrics.get(job.metric, job.metric),
        path=str(job.folder / "autogluon"),
        verbosity=0,
    ).fit(job.train, presets="medium_quality", time_limit=job.budget, num_cpus=2)
    seconds = time.monotonic() - start
    small = TabularPredictor.load(predictor.clone_for_deployment(str(job.folder / "deployed")))
    regression = job.task == "regression"
    predict = small.predict if regression else small.predict_proba
    size = sum(f.stat().st_size for f in (job.folder / "deployed").rglob("*") if f.is_file())
    return Result(predict(job.test).to_numpy(), seconds, size, lambda: predict(job.test[:1]))


def flaml(job: Job) -> Result:
    """FLAML's AutoML."""
    from flaml import AutoML

    start = time.monotonic()
    automl = AutoML()
    automl.fit(
        job.train.drop(columns=TARGET),
        job.train[TARGET],
        task="regression" if job.task == "regression" else "classification",
        metric=job.metric,
        time_budget=job.budget,
        seed=job.seed,
        n_jobs=2,
        verbose=0,
    )
    seconds = time.monotonic() - start
    predict = automl.predict if job.task == "regression" else automl.predict_proba
    size = len(pickle.dumps(automl.model))
    return Result(predict(job.test), seconds, size, lambda: predict(job.test[:1]))


def _encoder(job: Job) -> Any:
    """Levels as their positions; blanks of numbers by the median: the tutorial's way."""
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import OrdinalEncoder

    levels = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    return make_column_transformer(
        (SimpleImputer(strategy="median"), make_column_selector(dtype_include="number")),
        (levels, make_column_selector(dtype_exclude="number")),
    )


def _scikit(job: Job, model: Any) -> Result:
    from sklearn.pipeline import make_pipeline

    start = time.monotonic()
    fitted = make_pipeline(_encoder(job), model).fit(
        job.train.drop(columns=TARGET), job.train[TARGET]
    )
    seconds = time.monotonic() - start
    predict = fitted.predict if job.task == "regression" else fitted.predict_proba
    size = len(pickle.dumps(fitted))
    return Result(predict(job.test), seconds, size, lambda: predict(job.test[:1]))


def grid_forest(job: Job) -> Result:
    """The tutorial's grid search over a random forest; it knows no budget."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from sklearn.model_selection import GridSearchCV

    regression = job.task == "regression"
    names = {"rmse": "neg_root_mean_squared_error", "log_loss": "neg_log_loss"}
    forest = (RandomForestRegressor if regression else RandomForestClassifier)(
        random_state=job.seed
    )
    grid = {
        "n_estimators": [100, 200],
        "max_depth": [None, 10, 20],
        "min_samples_split": [2, 5, 10],
    }
    scoring = names.get(job.metric, job.metric)
    return _scikit(job, GridSearchCV(forest, grid, scoring=scoring, cv=3, n_jobs=2))


def lightgbm_default(job: Job) -> Result:
    """LightGBM as it comes."""
    import lightgbm

    regression = job.task == "regression"
    family = lightgbm.LGBMRegressor if regression else lightgbm.LGBMClassifier
    return _scikit(job, family(verbosity=-1, n_jobs=2, random_state=job.seed))


def frames(folder: Path) -> tuple[Any, Any]:
    """The rows as every peer reads them: dates as numbers, texts as categories."""
    import pandas as pd

    parts = [pd.read_parquet(folder / f"{name}.parquet") for name in ("train", "test")]
    for part in parts:
        for column in part.columns:
            if "datetime" in str(part[column].dtype):
                part[column] = part[column].astype("int64") / 1e9
            elif part[column].dtype == object:
                part[column] = part[column].astype("str").astype("category")
            elif str(part[column].dtype) == "bool":
                part[column] = part[column].astype("int8")
    return parts[0], parts[1]


def main() -> None:
    name, text, task, metric, budget, seed = sys.argv[1:]
    folder = Path(text)
    train, test = (None, None) if name == "roadworthy" else frames(folder)
    result: Result = globals()[name](
        Job(train, test, task, metric, float(budget), int(seed), folder)
    )
    import numpy as np

    scores = np.asarray(result.scores, dtype=np.float64)
    np.save(folder / f"{name}.npy", scores)
    taken = []
    for _ in range(30):
        start = time.perf_counter()
        result.one()
        taken.append(time.perf_counter() - start)
    found = {
        "seconds": result.seconds,
        "megabytes": result.size / 1e6,
        "microseconds": sorted(taken)[len(taken) // 2] * 1e6,
    }
    (folder / f"{name}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
