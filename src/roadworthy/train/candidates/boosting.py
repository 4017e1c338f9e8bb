"""Gradient-boosted trees by LightGBM (Ke et al., 2017)."""

from __future__ import annotations

from typing import Any

import lightgbm

from roadworthy.train.candidates._base import Between, Config, Fitted, OneOf, Problem, Rows, Space

MAX_ROUNDS = 1200
_RATE = 0.1


class Boosting:
    """LightGBM with early stopping; every fit ends at its deadline with the trees it has."""

    family = "boosting"
    settings = frozenset(lightgbm.LGBMClassifier().get_params())

    def configurations(self, problem: Problem) -> list[Config]:
        """From the default to larger, smoother and more random trees."""
        return [
            {"num_leaves": 31, "min_child_samples": 20, "colsample_bytree": 0.8},
            {"num_leaves": 12, "min_child_samples": 30, "colsample_bytree": 0.5, "reg_lambda": 5.0},
            {"num_leaves": 96, "min_child_samples": 10, "colsample_bytree": 0.7, "reg_lambda": 1.0},
            {
                "num_leaves": 63,
                "min_child_samples": 5,
                "colsample_bytree": 0.8,
                "extra_trees": True,
            },
            {"num_leaves": 6, "min_child_samples": 20, "colsample_bytree": 0.5, "reg_lambda": 10.0},
        ]

    def space(self, problem: Problem) -> Space:
        """Size, randomness and penalty of the trees."""
        return {
            "num_leaves": Between(6, 200, log=True, whole=True),
            "min_child_samples": Between(3, 100, log=True, whole=True),
            "colsample_bytree": Between(0.4, 1.0),
            "subsample": Between(0.6, 1.0),
            "reg_lambda": Between(0.01, 30.0, log=True),
            "extra_trees": OneOf((False, False, False, True)),
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
        regression = problem.task == "regression"
        settings = {
            "n_estimators": problem.rounds(MAX_ROUNDS),
            "learning_rate": _RATE * problem.rate,
            "subsample": 0.9,
            "subsample_freq": 1,
            "random_state": problem.seed,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
            **config,
            **({"n_estimators": rounds} if rounds else {}),
        }
        family = lightgbm.LGBMRegressor if regression else lightgbm.LGBMClassifier
        model = family(**settings, n_jobs=problem.threads)
        cut: list[int] = []

        def stop_at_deadline(environment: Any) -> None:
            if problem.seconds_left < 0:
                cut.append(environment.iteration)
                raise lightgbm.callback.EarlyStopException(
                    environment.iteration, environment.evaluation_result_list or []
                )

        callbacks: list[Any] = [stop_at_deadline]
        if valid is None:
            model.fit(train.X, train.y, sample_weight=train.weights, callbacks=callbacks)
        else:
            callbacks.insert(0, lightgbm.early_stopping(problem.patience, verbose=False))
            model.fit(
                train.X,
                train.y,
                sample_weight=train.weights,
                eval_X=valid.X,
                eval_y=valid.y,
                eval_sample_weight=None if valid.weights is None else [valid.weights],
                callbacks=callbacks,
            )
        model.set_params(n_jobs=1)  # rows are predicted one by one, and bytes must not tell cores
        best = model.best_iteration_ or model.booster_.current_iteration()
        return Fitted(model, int(best), not cut)
