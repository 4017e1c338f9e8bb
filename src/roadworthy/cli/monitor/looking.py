"""Look at everything that is known of a served model, for a report or a page."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from roadworthy.cli.advise import Looked, look_at, releases
from roadworthy.errors import InputError, RoadworthyError
from roadworthy.project import Project

if TYPE_CHECKING:
    import polars as pl

    from roadworthy.bundle import Bundle
    from roadworthy.monitor.advice import Situation
    from roadworthy.monitor.export import Sample
    from roadworthy.monitor.findings import Finding
    from roadworthy.monitor.inspection import Inspection
    from roadworthy.monitor.overview import Overview, Release
    from roadworthy.monitor.quality import Quality

_MOST_BYTES = 200_000_000
"""A training table beyond this is not read again: older logged rows are compared with."""


def overview(
    bundle: Bundle, wanted: Project, inspection: Inspection, log: str | None = None
) -> Overview:
    """Join counts, logged rows, labels, releases and alarms.

    What cannot be read is told as a finding: the counts stand without it.

    Args:
        bundle: The model.
        wanted: The project.
        inspection: What the counts say.
        log: Its prediction log; None takes the project's.
    """
    from roadworthy.monitor.alarms.notices import open_alarms
    from roadworthy.monitor.broken_days import healed_days
    from roadworthy.monitor.coverage import coverage_findings, log_coverage
    from roadworthy.monitor.history import version_spans
    from roadworthy.monitor.overview import Overview, joint_drift, with_findings
    from roadworthy.observe import WindowStore

    findings, looked, measured, recent = list(inspection.findings), None, None, None
    coverage = None
    folder = log or wanted.serve.log_folder
    if folder is not None and ("://" in folder or Path(folder).exists() or log is not None):
        try:
            looked = look_at(wanted, None, folder, None, opened=bundle, counted=tuple(findings))
        except RoadworthyError as error:
            findings.append(_unread("the prediction log or its labels", error))
    if looked is not None:
        logged = looked.outcomes.predictions
        rows = logged.take((logged.keys["version"] == bundle.version).to_numpy())
        coverage = log_coverage(
            rows, inspection.history, unusable=logged.left_out, read=len(logged) + logged.left_out
        )
        training = _training(bundle, wanted)
        findings = list(looked.situation.findings)
        measured, recent = _over_time(bundle, wanted, looked)
        findings += coverage_findings(coverage, wanted.serve.log_sample)
        well = rows.take(~healed_days(rows)[0])
        findings += joint_drift(well, inspection, wanted.monitor.against, training)
    try:
        alarms = open_alarms(wanted.monitor, inspection.model)
    except RoadworthyError as error:
        alarms = ()
        findings.append(_unread("the state of alarms", error))
    counts = wanted.monitor.counts
    return Overview(
        inspection=with_findings(inspection, findings),
        situation=None if looked is None else looked.situation,
        quality=measured,
        recent=recent,
        actions=() if looked is None else looked.actions,
        spans=() if counts is None else version_spans(WindowStore(counts), inspection.model),
        releases=_releases(wanted, inspection.model),
        alarms=alarms,
        coverage=coverage,
    )


def known(
    bundle: Bundle, wanted: Project, log: str | None, since: str | None
) -> tuple[Situation | None, Sequence[Finding]]:
    """What is known of a model: by its counts, its log, or both."""
    from roadworthy.monitor.inspection import inspect

    counts = wanted.monitor.counts
    if counts is None or not Path(counts).is_dir() or bundle.reference is None:
        looked = look_at(wanted, None, log, since, opened=bundle)
        return looked.situation, looked.situation.findings
    found = overview(bundle, wanted, inspect(bundle, wanted.monitor), log)
    return found.situation, found.inspection.findings


def export_samples(
    wanted: Project, model: str | None, log: str | None, since: str | None
) -> list[Sample]:
    """What there is to export of a model: by its counts, its log, or both."""
    from roadworthy.acceptance import resolve

    bundle = resolve(model, wanted)
    situation, findings = known(bundle, wanted, log, since)
    return known_samples(bundle, wanted, situation, findings, log)


def all_findings(
    wanted: Project, model: str | None, log: str | None, since: str | None
) -> tuple[str, list[Finding]]:
    """A model's name, and what our own notices are about.

    Findings, ages and the disk; where `[monitor] scrape` names the server, what a look at it and
    at this machine says.
    """
    from roadworthy.acceptance import resolve
    from roadworthy.monitor.alarms.looks import service_findings
    from roadworthy.monitor.alarms.measured import measured_findings

    told: list[Finding] = []
    bundle = resolve(model, wanted)
    address, situation = wanted.monitor.scrape, None
    if address is None or log or wanted.serve.log_folder or wanted.monitor.counts:
        try:
            situation, findings = known(bundle, wanted, log, since)
        except RoadworthyError as error:
            if address is None:
                raise
            findings = [_unread("what was counted or logged", error)]  # the server is asked anyway
        told += findings
    measured = known_samples(bundle, wanted, situation, told, log)
    told += measured_findings(measured, wanted.monitor)
    name = bundle.manifest.name
    if address is not None:
        key = os.environ.get("ROADWORTHY_API_KEY")
        told += service_findings(address, name, wanted.monitor, key=key)
    return name, told


def known_samples(
    bundle: Bundle,
    wanted: Project,
    situation: Situation | None,
    findings: Sequence[Finding],
    log: str | None,
) -> list[Sample]:
    """What is known as metrics."""
    from roadworthy.monitor.export import samples

    return samples(
        bundle, situation, findings=findings, certificate=wanted.serve.tls_certificate,
        folder=log or wanted.serve.log_folder or wanted.monitor.counts,
    )  # fmt: skip


def push(wanted: Project, to: str, found: Sequence[Sample]) -> int:
    """Send metrics to one place; how many values it took."""
    from roadworthy.monitor.push import PUSHES, PushPlace

    if to not in PUSHES:
        raise InputError(f"{to!r} is no place for metrics", fix=f"one of {', '.join(PUSHES)}")
    place = PushPlace(wanted.monitor.push_resource, wanted.monitor.push_endpoint)
    return PUSHES[to].push(found, place, time.time())


def _over_time(
    bundle: Bundle, wanted: Project, looked: Looked
) -> tuple[Quality | None, float | None]:
    """Quality over all logged rows, and since when they are recent, in days since 1970."""
    from roadworthy.monitor.advice.advise import recent_since
    from roadworthy.monitor.quality import holdout_metrics, quality

    outcomes, monitor = looked.outcomes, wanted.monitor
    if not outcomes.known.any():
        return None, None
    found = quality(
        outcomes, reference=holdout_metrics(bundle), period=monitor.period,
        slices=monitor.slices, delay_days=monitor.label_delay_days,
    )  # fmt: skip
    return found, recent_since(outcomes.predictions.times) / 86400


def _releases(wanted: Project, model: str) -> tuple[Release, ...]:
    try:
        return tuple(releases(wanted, model))
    except RoadworthyError:
        return ()  # a registry that is away takes lines from a drawing, no more


def _training(bundle: Bundle, wanted: Project) -> pl.DataFrame | None:
    """The training table's rows, where it is a file that can be read."""
    from roadworthy.evaluate.incoming import read_incoming

    path = wanted.data.path
    if wanted.monitor.against != "training" or path is None or not Path(path).is_file():
        return None
    if Path(path).stat().st_size > _MOST_BYTES:
        return None
    try:
        return read_incoming(path, bundle.contract, wanted).frame
    except RoadworthyError:
        return None


def _unread(what: str, error: RoadworthyError) -> Finding:
    from roadworthy.monitor.findings import Finding

    return Finding(
        "store", "warning", "service", f"{what} cannot be read: {error.what}",
        {"where": error.where or ""}, None, error.fix or "look at the place and its rights",
    )  # fmt: skip
