"""Score many files, or files larger than memory: by partitions, resumable, exactly once."""

from roadworthy.batch.predicting import Result, predict_files

__all__ = ["Result", "predict_files"]
