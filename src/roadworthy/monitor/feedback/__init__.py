"""Labels: what turned out to be true, kept once each and joined to predictions."""

from roadworthy.monitor.feedback.checks import label_findings
from roadworthy.monitor.feedback.join import Outcomes, join
from roadworthy.monitor.feedback.reading import read_labels
from roadworthy.monitor.feedback.store import Kept, LabelStore, open_labels

__all__ = ["Kept", "LabelStore", "Outcomes", "join", "label_findings", "open_labels", "read_labels"]
