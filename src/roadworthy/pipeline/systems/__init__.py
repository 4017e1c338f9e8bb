"""The CI systems: one file each behind one small protocol. Adding one touches one file."""

from roadworthy.pipeline.systems._base import System
from roadworthy.pipeline.systems.github import GitHub
from roadworthy.pipeline.systems.gitlab import GitLab
from roadworthy.pipeline.systems.jenkins import Jenkins

SYSTEMS: dict[str, System] = {system.name: system for system in (GitHub(), GitLab(), Jenkins())}

__all__ = ["SYSTEMS", "System"]
