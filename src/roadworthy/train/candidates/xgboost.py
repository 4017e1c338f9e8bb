"""Gradient-boosted trees by XGBoost (Chen and Guestrin, 2016), when it is installed."""

from __future__ import annotations

from typing import Any

from sklearn.pipeline import Pipeline

from roadworthy.train.candidates._base import (
    Between,
    Config,
    Fitted,
    Problem,
    Rows,
    Space,
    clip_to_float32,
)

MAX_ROUNDS = 1200
_RATE = 0.1


class XGBoost:
    """XGBoost on histograms with early stopping; every fit ends at its deadline."""

    family = "xgboost"
    settings = frozenset(
        {
            "n_estimators", "learning_rate", "max_depth", "max_leaves", "min_child_weight", "gamma",
            "subsample", "colsample_bytree", "colsample_bylevel", "colsample_bynode", "reg_alpha",
            "reg_lambda", "max_bin", "grow_policy", "max_delta_step", "scale_pos_weight",
        }
    )  # fmt: skip

    def configurations(self, problem: Problem) -> list[Config]:
        """Deep trees of few features, and shallow ones."""
        return [
            {"max_depth": 8, "min_child_weight": 5, "colsample_bytree": 0.6},
            {"max_depth": 4, "subsample": 0.8, "colsample_bytree": 0.5, "reg_lambda": 5.0},
        ]

    def space(self, problem: Problem) -> Space:
        """Size, randomness and penalty of the trees."""
        return {
            "max_depth": Between(3, 9, whole=True),
            "min_child_weight": Between(0.5, 20.0, log=True),
            "subsample": Between(0.6, 1.0),
            "colsample_bytree": Between(0.4, 1.0),
            "reg_lambda": Between(0.1, 20.0, log=True),
        }

    def fit(
        self,
        config: Config,
        problem: Problem,
        train: Rows,
        valid: Rows | None = None,
        rounds: int | None = None,
    ) -> Fitted:
        """Boost until the validation loss stops falling, `rounds` are done or time is over."""
        import xgboost

        cut: list[int] = []

        class StopAtDeadline(xgboost.callback.TrainingCallback):
            def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
                if problem.seconds_left < 0:
                    cut.append(epoch)
                return bool(cut)

        regression = problem.task == "regression"
        settings = {
            "n_estimators": problem.rounds(MAX_ROUNDS),
            "learning_rate": _RATE * problem.rate,
            "subsample": 0.9,
            "colsample_bytree": 0.8,
            "min_child_weight": 2,
            **config,
            **({"n_estimators": rounds} if rounds else {}),
        }
        model = (xgboost.XGBRegressor if regression else xgboost.XGBClassifier)(
            tree_method="hist",
            random_state=problem.seed,
            n_jobs=problem.threads,
            early_stopping_rounds=None if valid is None else problem.patience,
            callbacks=[StopAtDeadline()],
            **settings,
        )
        clip = clip_to_float32()
        y = train.y if regression else train.y.astype(int)
        watched = None if valid is None else [(clip.transform(valid.X), valid.y)]
        model.fit(
            clip.transform(train.X),
            y,
            sample_weight=train.weights,
            eval_set=watched,
            sample_weight_eval_set=_weights_of(valid),
            verbose=False,
        )
        # the callback holds the clock; bytes must not tell cores
        model.set_params(n_jobs=1, callbacks=None)
        booster = model.get_booster()
        # where time was over in the first round, the library has not named a best one
        best = int(booster.attr("best_iteration") or booster.num_boosted_rounds() - 1) + 1
        return Fitted(Pipeline([("clip", clip), ("model", model)]), int(best), not cut)


def _weights_of(valid: Rows | None) -> list[Any] | None:
    return None if valid is None or valid.weights is None else [valid.weights]
