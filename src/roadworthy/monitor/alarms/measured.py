"""What our own notices ring for besides findings: the ages and the disk that are measured."""

from __future__ import annotations

from collections.abc import Sequence

from roadworthy.monitor.alarms._base import alarm_list
from roadworthy.monitor.export import Sample
from roadworthy.monitor.findings import Finding, Kind, Severity
from roadworthy.project.monitor import QualityKeys

_MEASURED: dict[str, tuple[Kind, str]] = {
    "roadworthy_model_age_days": ("stale_model", "the model was made {:.0f} days ago"),
    "roadworthy_certificate_days": ("certificate", "the certificate ends in {:.1f} days"),
    "roadworthy_disk_used_share": ("disk", "{:.0%} of the disk of log or counts is used"),
}


def measured_findings(samples: Sequence[Sample], options: QualityKeys) -> list[Finding]:
    """Findings of the measures that are beyond the thresholds of `[monitor.alarms]`.

    Args:
        samples: What was measured.
        options: `[monitor]`.
    """
    alarms = {alarm.name: alarm for alarm in alarm_list(options)}
    found = []
    for sample in samples:
        kind, words = _MEASURED.get(sample.name, (None, ""))
        alarm = next((each for name, each in alarms.items() if name == kind), None)
        if kind is None or alarm is None:
            continue
        beyond = sample.value - alarm.threshold
        if beyond > 0 if alarm.direction == ">" else beyond < 0:
            severity: Severity = "serious" if alarm.severity == "page" else "warning"
            evidence = {"value": sample.value, "threshold": alarm.threshold}
            what = words.format(sample.value)
            found.append(Finding(kind, severity, "service", what, evidence, None, alarm.action))
    return found
