"""Do nine of ten intervals of an estimate without labels hold the realised value?

    python -m benchmarks.estimate_coverage

Clean windows of 400 rows, each of 60 references of 1,500 rows estimating 8 of them: 480 windows a
task. By chance alone a share of 0.9 varies by 0.014.
"""

from __future__ import annotations

import numpy as np

from benchmarks.worlds import TASKS, outcomes, plan
from roadworthy.contract import Target
from roadworthy.monitor.estimate import ConfidenceEstimator, DirectEstimator, Estimator
from roadworthy.monitor.estimate.direct import row_losses

REFERENCES, WINDOWS = 60, 8


def main() -> None:
    print(f"{'task':12} {'metric':10} {'windows':>8} {'held':>6}")
    for name, target in TASKS.items():
        for metric, inside in coverage(target).items():
            print(f"{name:12} {metric:10} {len(inside):8} {np.mean(inside):6.3f}")


def coverage(target: Target) -> dict[str, list[bool]]:
    held: dict[str, list[bool]] = {}
    for block in range(REFERENCES):
        reference = outcomes(target, 1500, 1000 + block).scored()
        made: Estimator
        if target.task == "regression":
            made = DirectEstimator(reference, plan())
        else:
            made = ConfidenceEstimator(reference)
        for number in range(WINDOWS):
            window = outcomes(target, 400, 50_000 + 100 * block + number)
            expected = made.estimate(window.predictions)
            for metric, losses in row_losses(window.scored()).items():
                value = float(losses.mean())
                value = {"rmse": value**0.5, "accuracy": 1.0 - value}.get(metric, value)
                inside = expected[metric].low <= value <= expected[metric].high
                held.setdefault(metric, []).append(inside)
    return held


if __name__ == "__main__":
    main()
