"""Step 5: files for GitHub Actions, GitLab CI and Jenkins, all from the same stages."""

from roadworthy.pipeline.systems import SYSTEMS, System
from roadworthy.pipeline.writing import Change, check, write

__all__ = ["SYSTEMS", "Change", "System", "check", "write"]
