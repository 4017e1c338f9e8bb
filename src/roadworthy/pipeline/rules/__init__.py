"""Rules for files of CI systems: what no schema sees, but what lets a secret or a release slip."""

from roadworthy.pipeline.rules._base import Finding

__all__ = ["Finding"]
