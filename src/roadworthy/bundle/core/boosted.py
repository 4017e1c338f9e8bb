"""Boosted trees of every library: their trees, and the link from sums to answers."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from roadworthy.bundle.core.float32 import fold_at_most, fold_less
from roadworthy.bundle.core.oblivious import oblivious_reader
from roadworthy.bundle.core.trees import Branch, Leaf, Node
from roadworthy.errors import InputError

Link = Literal["identity", "sigmoid", "softmax", "exp"]
_CODES = 256
"""HistGradientBoosting has this many codes of categories at most."""
_ZERO = float(np.float32(1e-35))
"""LightGBM reads |x| up to this (kZeroThreshold) as 0."""


class Boosted(NamedTuple):
    """A boosted model in plain parts.

    Attributes:
        base: What each output starts from, `[K]`.
        trees: Output and reader of each tree, in the library's order of summation.
        link: What turns sums into answers.
    """

    base: list[float]
    trees: list[tuple[int, Callable[[int], Node]]]
    link: Link


def read_lightgbm(model: Any) -> Boosted:
    """Take an LGBMClassifier or LGBMRegressor apart.

    Raises:
        InputError: Categorical splits, linear leaves, zeros as missing or an unknown objective.
    """
    dump = model.booster_.dump_model()
    targets = dump["num_tree_per_iteration"]
    objective, *settings = dump["objective"].split()
    links: dict[str, Link] = {
        "binary": "sigmoid", "cross_entropy": "sigmoid", "multiclass": "softmax",
        "poisson": "exp", "gamma": "exp", "tweedie": "exp", "regression": "identity",
        "regression_l1": "identity", "huber": "identity", "fair": "identity",
        "quantile": "identity", "mape": "identity",
    }  # fmt: skip
    if objective not in links or "sqrt" in settings:
        raise InputError(
            f"LightGBM's objective {dump['objective']!r} is not exported",
            fix=f"use one of {', '.join(sorted(links))}",
        )
    slope = next((float(s[8:]) for s in settings if s.startswith("sigmoid:")), 1.0)
    if dump.get("average_output"):
        slope /= len(dump["tree_info"]) // targets
    trees = [
        (number % targets, _lightgbm_reader(tree["tree_structure"], thresholds, slope))
        for number, (tree, thresholds) in enumerate(
            zip(dump["tree_info"], _lightgbm_thresholds(model), strict=True)
        )
    ]
    return Boosted([], trees, links[objective])


def _lightgbm_thresholds(model: Any) -> list[list[float]]:
    """The thresholds of each tree's splits; its JSON writes those beyond 1e300 as 1e300."""
    lines = model.booster_.model_to_string().splitlines()
    named = (line.removeprefix("threshold=") for line in lines if line.startswith("threshold="))
    return [[float(text) for text in line.split()] for line in named]


def _lightgbm_reader(
    structure: dict[str, Any], thresholds: list[float], slope: float
) -> Callable[[int], Node]:
    nodes: list[dict[str, Any]] = []
    children: list[list[int]] = []
    waiting: list[tuple[dict[str, Any], int | None]] = [(structure, None)]
    while waiting:
        entry, parent = waiting.pop()
        if parent is not None:
            children[parent].append(len(nodes))
        nodes.append(entry)
        children.append([])
        if "split_index" in entry:
            place = len(nodes) - 1
            waiting.append((entry["right_child"], place))
            waiting.append((entry["left_child"], place))

    def node(number: int) -> Node:
        entry = nodes[number]
        if "leaf_features" in entry:
            raise InputError("LightGBM's trees with linear leaves are not exported")
        if "split_index" not in entry:
            return Leaf(slope * float(entry["leaf_value"]))
        if entry["decision_type"] != "<=" or entry["missing_type"] == "Zero":
            kind = "categorical splits" if entry["decision_type"] != "<=" else "zero_as_missing"
            raise InputError(f"LightGBM's {kind} are not exported")
        threshold = thresholds[entry["split_index"]]
        # where no number was missing in training, LightGBM reads a missing one as 0
        left = entry["default_left"] if entry["missing_type"] == "NaN" else threshold >= 0.0
        feature = int(entry["split_feature"])
        below, above = children[number]
        return Branch(feature, fold_zero(threshold), below, above, bool(left))

    return node


def fold_zero(threshold: float) -> float:
    """A threshold that sends every |x| <= 1e-35 the way that LightGBM sends 0."""
    if 0.0 <= threshold <= _ZERO:
        return _ZERO
    if -_ZERO <= threshold < 0.0:
        return math.nextafter(-_ZERO, -math.inf)
    return threshold


def read_xgboost(model: Any, *, clipped: bool) -> Boosted:
    """Take an XGBoost model apart; its own sums are in float32, ours in float64.

    Raises:
        InputError: Dropout, linear boosters, categorical splits or an unknown objective.
    """
    learner = json.loads(model.get_booster().save_raw("json"))["learner"]
    booster = learner["gradient_booster"]
    objective = learner["objective"]["name"]
    links: dict[str, Link] = {
        "binary:logistic": "sigmoid", "multi:softprob": "softmax", "multi:softmax": "softmax",
        "count:poisson": "exp", "reg:gamma": "exp", "reg:tweedie": "exp",
        "reg:squarederror": "identity", "reg:absoluteerror": "identity",
        "reg:pseudohubererror": "identity", "reg:quantileerror": "identity",
    }  # fmt: skip
    if booster["name"] != "gbtree" or objective not in links:
        raise InputError(
            f"XGBoost's {booster['name']} with objective {objective!r} is not exported",
            fix=f"use gbtree with one of {', '.join(sorted(links))}",
        )
    ensemble = booster["model"]
    ends = ensemble["iteration_indptr"]
    best = learner["attributes"].get("best_iteration")
    count = ends[int(best) + 1] if best is not None else ends[-1]
    targets = max(1, int(learner["learner_model_param"]["num_class"]))
    start = np.atleast_1d(json.loads(learner["learner_model_param"]["base_score"]))
    base = np.broadcast_to(start.astype(np.float32), (targets,))
    if links[objective] == "sigmoid":
        base = -np.log(np.float32(1.0) / base - np.float32(1.0))
    elif links[objective] == "exp":
        base = np.log(base)
    trees = [
        (target, _xgboost_reader(tree, clipped))
        for tree, target in zip(
            ensemble["trees"][:count], ensemble["tree_info"][:count], strict=True
        )
    ]
    return Boosted([float(value) for value in base], trees, links[objective])


def _xgboost_reader(tree: dict[str, Any], clipped: bool) -> Callable[[int], Node]:
    left, right = tree["left_children"], tree["right_children"]
    values = np.array(tree["split_conditions"], dtype=np.float32).astype(np.float64)
    if any(tree.get("split_type", [])):
        raise InputError("XGBoost's categorical splits are not exported")
    thresholds = fold_less(values, clipped=clipped)

    def node(number: int) -> Node:
        if left[number] == -1:
            return Leaf(float(values[number]))
        missing_left = bool(tree["default_left"][number])
        feature = int(tree["split_indices"][number])
        return Branch(feature, float(thresholds[number]), left[number], right[number], missing_left)

    return node


def read_catboost(model: Any) -> Boosted:
    """Take a CatBoost model of symmetric trees over numbers apart.

    Raises:
        InputError: Other trees, categorical features or an unknown loss.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.json"
        model.save_model(str(file), format="json")
        content = json.loads(file.read_bytes())
    loss = str(model.get_all_params().get("loss_function", "")).split(":")[0]
    links: dict[str, Link] = {
        "Logloss": "sigmoid", "CrossEntropy": "sigmoid", "MultiClass": "softmax",
        "RMSE": "identity", "MAE": "identity", "Quantile": "identity", "Huber": "identity",
        "Poisson": "exp",
    }  # fmt: skip
    if loss not in links or "oblivious_trees" not in content:
        raise InputError(
            f"CatBoost's loss {loss!r} or kind of tree is not exported",
            fix=f"use symmetric trees with one of {', '.join(sorted(links))}",
        )
    scale, bias = content["scale_and_bias"]
    base = [float(value) for value in np.atleast_1d(bias)]
    floats = content["features_info"].get("float_features", [])
    trees: list[tuple[int, Callable[[int], Node]]] = []
    for tree in content["oblivious_trees"]:
        leaves = float(scale) * np.array(tree["leaf_values"], dtype=np.float64)
        per_leaf = leaves.reshape(1 << len(tree["splits"] or []), -1)
        trees += [
            (target, oblivious_reader(tree["splits"], own, floats))
            for target, own in enumerate(per_leaf.T)
        ]
    outputs = max(1, len(base), 1 + max((target for target, _ in trees), default=0))
    return Boosted(np.resize(base, outputs).tolist(), trees, links[loss])


def read_hist(model: Any) -> Boosted:
    """Take a HistGradientBoosting model apart.

    A split by categories looks at a feature of its own behind the model's, which
    `categories.write_categories` adds: 0 goes left.
    """
    base = [float(value) for value in np.ravel(model._baseline_prediction)]
    width = len(model._bin_mapper.is_categorical_)
    known = _known_bits(model)
    places = {split: width + place for place, split in enumerate(category_splits(model))}
    trees = [
        (target, _hist_reader(predictor, known, places))
        for row in model._predictors
        for target, predictor in enumerate(row)
    ]
    if hasattr(model, "classes_"):
        return Boosted(base, trees, "sigmoid" if len(base) == 1 else "softmax")
    is_log = type(model._loss.link).__name__ == "LogLink"
    return Boosted(base, trees, "exp" if is_log else "identity")


class CategorySplit(NamedTuple):
    """A split by categories.

    Attributes:
        feature: The feature, which holds codes or NaN.
        left: The codes that go left.
        missing_left: Whether NaN does.
    """

    feature: int
    left: frozenset[int]
    missing_left: bool


def category_splits(model: Any) -> tuple[CategorySplit, ...]:
    """The different splits by categories of a HistGradientBoosting model, in a settled order."""
    known = _known_bits(model)
    if not known:
        return ()
    found = {
        _category_split(entry, predictor, known)
        for row in model._predictors
        for predictor in row
        for entry in predictor.nodes
        if entry["is_categorical"] and not entry["is_leaf"]
    }
    return tuple(sorted(found, key=lambda split: (split.feature, sorted(split.left), *split[2:])))


def _known_bits(model: Any) -> dict[int, frozenset[int]]:
    """Feature of categories -> the codes that training saw."""
    bits, places = model._bin_mapper.make_known_categories_bitsets()
    return {
        feature: _codes(bits[places[feature]])
        for feature in np.flatnonzero(model._bin_mapper.is_categorical_).tolist()
    }


def _category_split(entry: Any, predictor: Any, known: dict[int, frozenset[int]]) -> CategorySplit:
    """A node's split; codes that training never saw go where NaN goes."""
    feature, missing_left = int(entry["feature_idx"]), bool(entry["missing_go_to_left"])
    left = _codes(predictor.raw_left_cat_bitsets[int(entry["bitset_idx"])])
    unseen = frozenset(range(_CODES)) - known[feature] if missing_left else frozenset()
    return CategorySplit(feature, left | unseen, missing_left)


def _codes(words: Any) -> frozenset[int]:
    """The places of the bits that are set, 32 a word."""
    return frozenset(code for code in range(_CODES) if int(words[code // 32]) >> code % 32 & 1)


def _hist_reader(
    predictor: Any, known: dict[int, frozenset[int]], places: dict[CategorySplit, int]
) -> Callable[[int], Node]:
    nodes = predictor.nodes

    def node(number: int) -> Node:
        entry = nodes[number]
        if entry["is_leaf"]:
            return Leaf(float(entry["value"]))
        below, above = int(entry["left"]), int(entry["right"])
        if entry["is_categorical"]:
            split = _category_split(entry, predictor, known)
            return Branch(places[split], 0.5, below, above, missing_left=split.missing_left)
        return Branch(
            int(entry["feature_idx"]),
            float(entry["num_threshold"]),
            below,
            above,
            bool(entry["missing_go_to_left"]),
        )

    return node


def read_gradient(model: Any, *, clipped: bool) -> Boosted:
    """Take a GradientBoosting model apart.

    Raises:
        InputError: It starts from an estimator that looks at the row.
    """
    if model.init not in (None, "zero"):
        raise InputError("GradientBoosting with an init estimator is not exported")
    zeros = np.zeros((1, model.n_features_in_), dtype=np.float32)
    slope = 2.0 if model.loss == "exponential" else 1.0
    base = [slope * float(value) for value in model._raw_predict_init(zeros)[0]]
    trees = [
        (target, tree_reader(tree.tree_, 0, slope * model.learning_rate, clipped=clipped))
        for row in model.estimators_
        for target, tree in enumerate(row)
    ]
    if not hasattr(model, "classes_"):
        return Boosted(base, trees, "identity")
    return Boosted(base, trees, "sigmoid" if len(base) == 1 else "softmax")


def tree_reader(tree: Any, output: int, scale: float, *, clipped: bool) -> Callable[[int], Node]:
    """Nodes of a scikit-learn tree, whose leaves tell class shares or a number.

    scikit-learn's trees look at float32 numbers and compare them with float64 thresholds.
    """
    left, right, feature = tree.children_left, tree.children_right, tree.feature
    values = tree.value[:, 0, output]
    thresholds = fold_at_most(tree.threshold, clipped=clipped)
    missing = tree.missing_go_to_left

    def node(number: int) -> Node:
        if left[number] == -1:
            return Leaf(scale * float(values[number]))
        return Branch(
            int(feature[number]),
            float(thresholds[number]),
            int(left[number]),
            int(right[number]),
            bool(missing[number]),
        )

    return node
