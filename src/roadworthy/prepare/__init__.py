"""Step 1, preparation: from a row of the contract to a vector of numbers.

`plan` and `rows` are plain data and plain Python: the server needs no more. `fit` and
`columns` (Polars) and `reference` (scikit-learn) are for training and are imported by name.
"""

from roadworthy.prepare.plan import Feature, FeaturePlan

__all__ = ["Feature", "FeaturePlan"]
