"""Gradient-boosted symmetric trees by CatBoost (Prokhorenkova et al., 2018), when installed."""

from __future__ import annotations

from typing import Any

from roadworthy.train.candidates._base import Between, Config, Fitted, Problem, Rows, Space

MAX_ROUNDS = 1200
_RATE = 0.13


class CatBoost:
    """CatBoost with early stopping; every fit ends at its deadline with the trees it has."""

    family = "catboost"
    settings = frozenset(
        {
            "iterations", "learning_rate", "depth", "l2_leaf_reg", "subsample", "random_strength",
            "border_count", "rsm", "leaf_estimation_iterations", "min_data_in_leaf",
        }
    )  # fmt: skip

    def configurations(self, problem: Problem) -> list[Config]:
        """The default depth, deeper and shallower."""
        return [
            {"depth": 6, "l2_leaf_reg": 3.0},
            {"depth": 8, "l2_leaf_reg": 5.0},
            {"depth": 4, "l2_leaf_reg": 3.0},
        ]

    def space(self, problem: Problem) -> Space:
        """Depth, randomness and penalty of the trees."""
        return {
            "depth": Between(4, 8, whole=True),
            "l2_leaf_reg": Between(1.0, 20.0, log=True),
            "subsample": Between(0.6, 1.0),
            "random_strength": Between(0.1, 5.0, log=True),
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
        import catboost

        cut: list[int] = []

        class StopAtDeadline:
            def after_iteration(self, info: Any) -> bool:
                if problem.seconds_left < 0:
                    cut.append(info.iteration)
                return not cut

        regression = problem.task == "regression"
        settings = {
            "iterations": problem.rounds(MAX_ROUNDS),
            "learning_rate": _RATE * problem.rate,
            "subsample": 0.8,
            "border_count": 128,
            **config,
            **({"iterations": rounds} if rounds else {}),
        }
        model = (catboost.CatBoostRegressor if regression else catboost.CatBoostClassifier)(
            bootstrap_type="Bernoulli",
            boosting_type="Plain",
            thread_count=problem.threads,
            random_seed=problem.seed,
            allow_writing_files=False,
            verbose=0,
            **settings,
        )
        y = train.y if regression else train.y.astype(int)
        options: dict[str, Any] = {"callbacks": [StopAtDeadline()]}
        if valid is not None:
            goal = valid.y if regression else valid.y.astype(int)
            options["eval_set"] = catboost.Pool(valid.X, goal, weight=valid.weights)
            options["early_stopping_rounds"] = problem.patience
            options["use_best_model"] = True
        model.fit(train.X, y, sample_weight=train.weights, **options)
        return Fitted(model, int(model.tree_count_), not cut)
