"""The candidates: one file a family. To add one, write its file and name it here."""

from roadworthy.train.candidates._base import Candidate, Config, Fitted, Problem, Rows
from roadworthy.train.candidates.boosting import Boosting
from roadworthy.train.candidates.forest import Forest
from roadworthy.train.candidates.linear import Linear

CANDIDATES: dict[str, Candidate] = {
    candidate.family: candidate for candidate in (Linear(), Boosting(), Forest())
}

__all__ = ["CANDIDATES", "Candidate", "Config", "Fitted", "Problem", "Rows"]
