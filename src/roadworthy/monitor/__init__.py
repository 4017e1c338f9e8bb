"""Step 7: what the counts of a served model say, as findings."""

from roadworthy.monitor.findings import BROKEN_DATA, KINDS, Finding, Kind, Severity

__all__ = ["BROKEN_DATA", "KINDS", "Finding", "Kind", "Severity"]
