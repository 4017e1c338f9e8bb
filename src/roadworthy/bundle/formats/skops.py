"""`model.skops`: data and names of types, which nothing runs until they are trusted."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from roadworthy.bundle.formats.pickle import damaged
from roadworthy.errors import CheckFailed, OutsideError

HARMLESS = (
    "catboost.core.CatBoostClassifier", "catboost.core.CatBoostRegressor",
    "collections.OrderedDict", "collections.defaultdict", "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier", "lightgbm.sklearn.LGBMRegressor", "numpy.clip",
    "numpy.dtype", "roadworthy.bundle.formats.estimator.PackagedClassifier",
    "roadworthy.bundle.formats.estimator.PackagedRegressor",
    "roadworthy.bundle.foreign.rows.OwnRows", "roadworthy.prepare.reference._as_floats",
    "roadworthy.prepare.reference._blank_text",
    "roadworthy.prepare.reference._is_blank", "roadworthy.prepare.reference.date_parts",
    "roadworthy.prepare.reference.hashed_levels", "roadworthy.prepare.reference.hashed_texts",
    "roadworthy.prepare.reference.look_up", "roadworthy.prepare.reference.weigh",
    "roadworthy.train.blend.Blend", "roadworthy.train.blend.LogTarget",
    "roadworthy.train.candidates.linear.signed_log", "roadworthy.train.calibration.Calibrated",
    "roadworthy.train.calibration.CalibratedNumbers",
    "sklearn._loss.link.ExpLink", "sklearn._loss.link.Interval",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree", "xgboost.core.Booster", "xgboost.sklearn.XGBClassifier",
    "xgboost.sklearn.XGBRFClassifier", "xgboost.sklearn.XGBRFRegressor",
    "xgboost.sklearn.XGBRegressor",
)  # fmt: skip
"""Types that a search of ours can leave, besides those that skops itself takes for harmless. They
are part of this program: a file can add nothing to them."""
_EPOCH = (1980, 1, 1, 0, 0, 0)
_SCHEMA = "schema.json"


class Skops:
    """See `Format`; a type in the file is made only when it is trusted."""

    name = "skops"
    file = "model.skops"
    runs_code = False

    def write(self, estimator: Any) -> bytes:
        """The estimator as bytes."""
        return _same_bytes(_library().dumps(estimator))

    def read(self, content: bytes, trusted_types: Sequence[str] = ()) -> Any:
        """The estimator again."""
        library = _library()
        try:
            found = library.get_untrusted_types(data=content)
        except Exception as error:
            raise damaged(self.file, error) from None
        strange = sorted(set(found) - {*HARMLESS, *trusted_types})
        if strange:
            raise CheckFailed(
                f"{self.file} holds types that are not trusted: {', '.join(strange[:10])}",
                where="[package] trusted_types",
                fix="name them in the project file when you know what they do",
            )
        try:
            return library.loads(content, trusted=found)
        except Exception as error:
            raise damaged(self.file, error) from None


def _library() -> Any:
    try:
        import skops.io
    except ModuleNotFoundError:
        raise OutsideError(
            "the format skops needs 'skops', which is not installed",
            fix="pip install 'roadworthy[exchange]'",
        ) from None
    return skops.io


def _same_bytes(content: bytes) -> bytes:
    """The file with what differs from run to run (addresses of objects, times) made regular."""
    source = zipfile.ZipFile(io.BytesIO(content))
    schema = json.loads(source.read(_SCHEMA))
    numbers: dict[int, int] = {}
    files: dict[str, str] = {}
    waiting = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if isinstance(node.get("__id__"), int):
                node["__id__"] = numbers.setdefault(node["__id__"], len(numbers))
            old = node.get("file")
            if isinstance(old, str) and old in source.NameToInfo:
                ending = old.partition(".")[2]
                node["file"] = files.setdefault(old, f"{len(files)}.{ending}")
        children = node.values() if isinstance(node, dict) else node
        waiting += [child for child in children if isinstance(child, (dict, list))]
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for old, new in files.items():
            archive.writestr(_entry(new), _no_padding(source.read(old)), zipfile.ZIP_DEFLATED)
        archive.writestr(_entry(_SCHEMA), json.dumps(schema, indent=1), zipfile.ZIP_DEFLATED)
    return target.getvalue()


def _no_padding(content: bytes) -> bytes:
    """An array with zeros between the fields of its records (trees), where chance bytes lie."""
    if not content.startswith(b"\x93NUMPY"):
        return content
    array = np.load(io.BytesIO(content), allow_pickle=False)
    if array.dtype.names is None:
        return content
    clean = np.zeros(array.shape, array.dtype)  # zeros_like clears the fields only
    for name in array.dtype.names:
        clean[name] = array[name]
    buffer = io.BytesIO()
    # `np.save` copies records field by field, through a buffer with chance bytes of its own
    header = np.lib.format.header_data_from_array_1_0(clean)
    np.lib.format.write_array_header_1_0(buffer, header)
    buffer.write(clean.reshape(-1).view(np.uint8).tobytes())
    return buffer.getvalue()


def _entry(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(name, _EPOCH)
