"""Recalibration of more than two classes: how sure the model is, and how often each class comes."""

from __future__ import annotations

import numpy as np

from roadworthy.evaluate.resample import Codes, Floats

_TINY = 1e-9
_RIDGE = 1e-3


class ScaledProbabilities:
    """`log q = a log p + b_k`, normed; fitted by penalised maximum likelihood.

    Bias-corrected temperature scaling (Alexandari, Kundaje and Shrikumar 2020, "Maximum likelihood
    with bias-corrected calibration is hard-to-beat at label shift adaptation"): one number for how
    sure the model is, and one a class for how often it comes.

    Args:
        scores: Probabilities `[N, K]`.
        codes: Positions of the classes that came true `[N]`.

    Attributes:
        parameters: `a, b_1, ..., b_K`; 1 and zeros leave probabilities as they are.
    """

    def __init__(self, scores: Floats, codes: Codes) -> None:
        from scipy.optimize import minimize

        start = np.r_[1.0, np.zeros(scores.shape[1])]
        logs, true = _log(scores), np.eye(scores.shape[1])[codes]

        def loss(parameters: Floats) -> tuple[float, Floats]:
            q, moved = _shares(parameters, logs), parameters - start
            off = q - true
            slope = np.r_[(off * logs).sum(), off.sum(axis=0)] + _RIDGE * moved
            return float(-_log(q)[true == 1].sum() + _RIDGE * moved @ moved / 2), slope

        found = minimize(loss, start, jac=True, method="L-BFGS-B")
        self.parameters: Floats = found.x

    def __call__(self, scores: Floats) -> Floats:
        """Calibrated probabilities `[N, K]`."""
        return _shares(self.parameters, _log(scores))


def _shares(parameters: Floats, logs: Floats) -> Floats:
    raw = parameters[0] * logs + parameters[1:]
    shares = np.exp(raw - raw.max(axis=1, keepdims=True))
    found: Floats = shares / shares.sum(axis=1, keepdims=True)
    return found


def _log(p: Floats) -> Floats:
    found: Floats = np.log(np.clip(p, _TINY, 1.0))
    return found
