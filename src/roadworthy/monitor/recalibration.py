"""The calibration that recent labels ask for: fitted once for what advice measures and is done."""

from __future__ import annotations

import numpy as np

from roadworthy.evaluate.resample import Floats
from roadworthy.monitor.estimate.confidence import BetaCalibration
from roadworthy.train.calibration import Calibration, fit_calibration


def fit_recalibration(scores: Floats, labels: Floats) -> Calibration:
    """Fit what brings scores to what came true.

    Of two classes beta calibration (Kull et al., 2017), which keeps their order; of more a
    temperature and a shift a class (Guo et al., 2017); of numbers a straight line by least squares.

    Args:
        scores: Probabilities `[N, K]` or predictions `[N]`.
        labels: Class positions or numbers `[N]`.
    """
    if scores.ndim == 1:
        line = np.polyfit(scores, labels, 1) if np.ptp(scores) > 0 else (1.0, 0.0)
        slope, constant = (float(value) for value in line)
        return Calibration(method="line", slope=slope, shifts=(constant,))
    if scores.shape[1] > 2:
        return fit_calibration("sigmoid", scores, labels, np.ones(len(labels)))
    fitted = BetaCalibration(scores[:, 1], labels).parameters.tolist()
    return Calibration(method="beta", slope=fitted[0], rest=fitted[1], shifts=(0.0, fitted[2]))
