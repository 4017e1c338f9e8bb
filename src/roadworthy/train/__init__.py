"""Step 2: the best model a table allows within a time budget."""

from roadworthy.train.model import SearchRecord, TrainedModel, Trial
from roadworthy.train.training import train

__all__ = ["SearchRecord", "TrainedModel", "Trial", "train"]
