"""The checks: one file each. To add one, write its file and name it here and in `CheckName`."""

from roadworthy.guard.checks._base import Case, Check, Finding, quoted
from roadworthy.guard.checks.columns import Columns
from roadworthy.guard.checks.duplicates import Duplicates
from roadworthy.guard.checks.identifiers import Identifiers
from roadworthy.guard.checks.imbalance import Imbalance
from roadworthy.guard.checks.label_noise import LabelNoise
from roadworthy.guard.checks.leakage import Leakage
from roadworthy.guard.checks.shift import Shift
from roadworthy.guard.checks.target import Target
from roadworthy.guard.checks.time import Time

CHECKS: dict[str, Check] = {
    check.name: check
    for check in (
        Leakage(),
        Duplicates(),
        Identifiers(),
        Time(),
        LabelNoise(),
        Imbalance(),
        Target(),
        Shift(),
        Columns(),
    )
}

__all__ = ["CHECKS", "Case", "Check", "Finding", "quoted"]
