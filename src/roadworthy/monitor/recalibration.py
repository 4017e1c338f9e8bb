"""The calibration that recent labels ask for, as it is put behind a core."""

from __future__ import annotations

import numpy as np

from roadworthy.evaluate.resample import Floats
from roadworthy.monitor.estimate.confidence import BetaCalibration
from roadworthy.monitor.estimate.scaling import ScaledProbabilities
from roadworthy.train.calibration import Calibration


def fit_recalibration(scores: Floats, labels: Floats) -> Calibration:
    """Fit what brings scores to what came true, as `advice.gains` measures it.

    Of two classes beta calibration (Kull et al., 2017), which keeps their order; of more a
    temperature and a shift a class (Alexandari et al., 2020); of numbers a straight line by least
    squares.

    Args:
        scores: Probabilities `[N, K]` or predictions `[N]`.
        labels: Class positions or numbers `[N]`.
    """
    if scores.ndim == 1:
        line = np.polyfit(scores, labels, 1) if np.ptp(scores) > 0 else (1.0, 0.0)
        slope, constant = (float(value) for value in line)
        return Calibration(method="line", slope=slope, shifts=(constant,))
    if scores.shape[1] > 2:
        scaled = ScaledProbabilities(scores, labels.astype(np.int64)).parameters
        shifts = tuple((scaled[1:] - scaled[1]).tolist())
        return Calibration(method="sigmoid", slope=float(scaled[0]), shifts=shifts)
    fitted = BetaCalibration(scores[:, 1], labels).parameters.tolist()
    return Calibration(method="beta", slope=fitted[0], rest=fitted[1], shifts=(0.0, fitted[2]))
