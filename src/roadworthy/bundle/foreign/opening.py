"""Open a model's file: ONNX, joblib, pickle, skops, or an MLflow folder, read without MLflow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from roadworthy.bundle.foreign.onnx_file import open_onnx
from roadworthy.bundle.formats import EXTRA
from roadworthy.errors import InputError, OutsideError

_ENDINGS = {".joblib": "joblib", ".pkl": "pickle", ".pickle": "pickle", ".skops": "skops"}
_CLASSES = {
    "xgboost.sklearn.XGBClassifier", "xgboost.sklearn.XGBRegressor",
    "xgboost.sklearn.XGBRFClassifier", "xgboost.sklearn.XGBRFRegressor",
}  # fmt: skip
_MAX_BYTES = 1 << 20


def open_model(path: Path, *, allow_pickle: bool = False, trusted_types: Sequence[str] = ()) -> Any:
    """Open a fitted model.

    Args:
        path: An `.onnx`, `.joblib`, `.pkl` or `.skops` file, or an MLflow model's folder.
        allow_pickle: Whether code in the file may run.
        trusted_types: Types that a skops file may hold besides those known to be harmless.

    Raises:
        InputError: There is no model, it is of another kind, or it would run code and may not.
        CheckFailed: The file is damaged, or holds types that are not trusted.
        OutsideError: A library for it is not installed.
    """
    if path.is_dir():
        return _open_mlflow(path, allow_pickle, trusted_types)
    if not path.is_file():
        raise InputError("there is no such model", where=str(path))
    if path.suffix.lower() == ".onnx":
        return open_onnx(path)
    form = _ENDINGS.get(path.suffix.lower())
    if form is None:
        raise InputError(
            f"a model's file ends in .onnx, {', '.join(_ENDINGS)}",
            where=str(path),
            fix="save it with joblib.dump or skops.io.dump, or name an MLflow folder",
        )
    return _open_file(path, form, allow_pickle, trusted_types)


def _open_file(path: Path, form: str, allow_pickle: bool, trusted_types: Sequence[str]) -> Any:
    if EXTRA[form].runs_code and not allow_pickle:
        raise InputError(
            "opening this file runs whatever code is in it, with all your rights",
            where=str(path),
            fix="--allow-pickle when you made it or trust who did; or save it with skops.io.dump",
        )
    try:
        content = path.read_bytes()
    except OSError as error:
        raise OutsideError(
            f"the model cannot be read: {error.strerror or error}", where=str(path)
        ) from None
    return EXTRA[form].read(content, trusted_types)


def _open_mlflow(folder: Path, allow_pickle: bool, trusted_types: Sequence[str]) -> Any:
    flavors = _flavors(folder)
    for name, opener in (("sklearn", _sklearn), ("xgboost", _xgboost), ("catboost", _catboost),
                         ("lightgbm", _lightgbm)):  # fmt: skip
        if isinstance(flavors.get(name), dict):
            return opener(folder, flavors[name], allow_pickle, trusted_types)
    raise InputError(
        f"the MLflow model has no flavour that can be taken: {', '.join(flavors)}",
        where=str(folder / "MLmodel"),
        fix="log it with mlflow.sklearn, mlflow.lightgbm, mlflow.xgboost or mlflow.catboost",
    )


def _flavors(folder: Path) -> dict[str, Any]:
    place = folder / "MLmodel"
    try:
        import yaml
    except ModuleNotFoundError:
        raise OutsideError(
            "an MLflow folder needs 'pyyaml', which is not installed",
            fix="pip install 'roadworthy[exchange]'",
        ) from None
    try:
        content = place.read_bytes()
    except OSError:
        raise InputError(
            "this folder is no MLflow model: it has no MLmodel", where=str(folder)
        ) from None
    try:
        if len(content) > _MAX_BYTES:
            raise ValueError("far too large")
        flavors = yaml.safe_load(content)["flavors"]
        return {str(name): entry for name, entry in flavors.items()}
    except (
        yaml.YAMLError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        RecursionError,
    ) as error:
        first = (str(error).splitlines() or [""])[0]
        raise InputError(f"MLmodel is damaged: {first}", where=str(place)) from None


def _file(folder: Path, entry: dict[str, Any], key: str) -> Path:
    """A file that the MLmodel names: inside the folder, or an error."""
    place = (folder / str(entry.get(key, ""))).resolve()
    if not place.is_relative_to(folder.resolve()) or not place.is_file():
        raise InputError(
            f"MLmodel names a {key} that is not a file in its folder", where=str(folder / "MLmodel")
        )
    return place


def _sklearn(folder: Path, entry: dict[str, Any], allow: bool, trusted: Sequence[str]) -> Any:
    form = "skops" if entry.get("serialization_format") == "skops" else "pickle"
    return _open_file(_file(folder, entry, "pickled_model"), form, allow, trusted)


def _lightgbm(folder: Path, entry: dict[str, Any], allow: bool, trusted: Sequence[str]) -> Any:
    if str(entry.get("model_class", "")).endswith("Booster"):
        raise InputError(
            "a bare LightGBM Booster does not know its classes",
            where=str(folder),
            fix="log the LGBMClassifier or LGBMRegressor",
        )
    form = "skops" if entry.get("serialization_format") == "skops" else "joblib"
    return _open_file(_file(folder, entry, "data"), form, allow, trusted)


def _xgboost(folder: Path, entry: dict[str, Any], allow: bool, trusted: Sequence[str]) -> Any:
    name = str(entry.get("model_class", ""))
    if name not in _CLASSES:
        raise InputError(
            f"the XGBoost model is a {name or 'Booster'}, not an estimator",
            where=str(folder),
            fix="log the XGBClassifier or XGBRegressor",
        )
    import xgboost

    return _loaded(getattr(xgboost, name.rpartition(".")[2])(), _file(folder, entry, "data"))


def _catboost(folder: Path, entry: dict[str, Any], allow: bool, trusted: Sequence[str]) -> Any:
    name = str(entry.get("model_type", ""))
    if name not in ("CatBoostClassifier", "CatBoostRegressor"):
        raise InputError(f"the CatBoost model is a {name}, not an estimator", where=str(folder))
    import catboost

    return _loaded(getattr(catboost, name)(), _file(folder, entry, "data"))


def _loaded(estimator: Any, place: Path) -> Any:
    """An estimator that reads a model's own file, which holds no code."""
    try:
        estimator.load_model(str(place))
    except Exception as error:  # every library raises what it likes
        first = (str(error).strip().splitlines() or [""])[0]
        raise InputError(f"the model cannot be read: {first[:200]}", where=str(place)) from None
    return estimator
