"""What quality is likely to be before labels are known, and whether labels then agree.

An estimate assumes that the relation between inputs and outcome is what it was: it follows a change
of the inputs and is blind to concept drift. Realised less estimated quality is what finds that.
"""

from roadworthy.monitor.estimate.base import BLIND, Estimator, Expected
from roadworthy.monitor.estimate.confidence import ConfidenceEstimator
from roadworthy.monitor.estimate.direct import DirectEstimator
from roadworthy.monitor.estimate.gap import ConceptGap, concept_gap, findings

__all__ = [
    "BLIND",
    "ConceptGap",
    "ConfidenceEstimator",
    "DirectEstimator",
    "Estimator",
    "Expected",
    "concept_gap",
    "findings",
]
