"""What a look at the server's own address and at this machine says, for our own notices.

A look keeps the server's counters as they stand. What an alarm rings for is what came between the
newest look that is as old as its `minutes` (or older) and now, so no alarm rings at a first look.
While the server does not answer, that alone is told.
"""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from http.client import HTTPException
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from roadworthy.errors import InputError
from roadworthy.monitor.alarms._base import Alarm, alarm_list
from roadworthy.monitor.alarms.notices import locked, replace_file
from roadworthy.monitor.findings import Finding, Kind, Severity
from roadworthy.monitor.service import SECONDS, Totals, growth, headers, read_totals
from roadworthy.project.monitor import AlarmName, QualityKeys

_WATCHED: tuple[AlarmName, ...] = (
    "down", "errors", "latency", "no_traffic", "log_lost", "cpu", "memory",
)  # fmt: skip
_PARTS = 200
"""A look is let go when those around it lie closer than such a part of what is remembered."""
_WORDS: dict[AlarmName, str] = {
    "errors": "{:.1%} of answers were 5xx",
    "latency": "the slowest hundredth of answers took {:.3g} s or more",
    "no_traffic": "{:.0f} requests came",
    "log_lost": "the prediction log lost {:.0f} rows",
    "cpu": "processors were busy {:.0%} of the time",
    "memory": "never less than {:.0%} of the memory was used",
}
_QUANTILE = 0.99
_HERE = ("localhost", "::1")


class Machine(NamedTuple):
    """How busy this machine is.

    Attributes:
        busy: Processor time that was used since it began, in ticks;
        all: and all there was.
        memory: Share of its memory that is used.
    """

    busy: float
    all: float
    memory: float


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What one look saw.

    Attributes:
        at: When, seconds since 1970.
        up: Whether the server answered.
        totals: Its counters, and the upper limit of each bucket of durations; None where it told
            none.
        refused: The status with which it refused to tell them.
        machine: This machine, where the server runs on it.
    """

    at: float
    up: bool
    totals: list[tuple[str, str, float]] | None = None
    refused: int | None = None
    machine: Machine | None = None


def look(address: str, model: str, key: str | None = None, now: float | None = None) -> Look:
    """Look at a server, and at the machine if it is this one.

    Args:
        address: Of its `/metrics`; any other, such as `/livez`, says only whether it answers.
        model: The model that is asked about.
        key: The API key, where it needs one.
        now: Seconds since 1970.

    Raises:
        InputError: The address is none.
    """
    moment = time.time() if now is None else now
    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise InputError(f"this is no address: {error}", where=address) from None
    host = parts.hostname or ""
    machine = read_machine() if host in _HERE or host.startswith("127.") else None
    try:
        if parts.path.rstrip("/").endswith("/metrics"):
            found = read_totals(address, model, key)
            totals = [(name, limit, value) for (name, limit), value in found.items()]
            return Look(at=moment, up=True, totals=totals, machine=machine)
        request = urllib.request.Request(address, headers=headers(key))
        with urllib.request.urlopen(request, timeout=SECONDS):
            return Look(at=moment, up=True, machine=machine)
    except urllib.error.HTTPError as error:
        refused = error.code if error.code < 500 else None
        return Look(at=moment, up=refused is not None, refused=refused, machine=machine)
    except (OSError, HTTPException, ValueError):
        return Look(at=moment, up=False, machine=machine)


def read_machine(root: Path = Path("/proc")) -> Machine | None:
    """How busy this machine is; None where the system does not tell.

    Source: proc(5), `/proc/stat` and `/proc/meminfo`.
    """
    try:
        times = [int(each) for each in (root / "stat").read_text().split("\n", 1)[0].split()[1:9]]
        lines = (root / "meminfo").read_text().splitlines()
        sizes = {line.partition(":")[0]: int(line.split()[1]) for line in lines}
        used = 1.0 - sizes["MemAvailable"] / sizes["MemTotal"]
        return Machine(sum(times) - times[3] - times[4], sum(times), used)
    except (OSError, ValueError, LookupError):
        return None


def service_findings(
    address: str,
    model: str,
    options: QualityKeys,
    *,
    key: str | None = None,
    now: float | None = None,
) -> list[Finding]:
    """Look, remember it beside what is open, and say what is beyond the list of alarms.

    Args:
        address: Of the server's `/metrics`, or another that says only whether it answers.
        model: The model that is asked about.
        options: `[monitor]`.
        key: The API key, where it needs one.
        now: Seconds since 1970.

    Raises:
        InputError: The address is none, or what is remembered is damaged.
        OutsideError: It cannot be kept.
    """
    alarms = {each.name: each for each in alarm_list(options) if each.name in _WATCHED}
    newest = look(address, model, key, now)
    state = Path(options.alarm_state)
    path = state.with_name(f"{state.name}.looks")
    longest = max((alarm.minutes for alarm in alarms.values()), default=0.0) * 60
    with locked(path):
        known = _read(path)
        name = f"{model} {address}"
        known[name] = looks = _remembered([*known.get(name, ()), newest], longest)
        replace_file(path, msgspec.json.encode(known))
    return list(_findings(looks, alarms))


def _read(path: Path) -> dict[str, list[Look]]:
    content = path.read_bytes() if path.exists() else b""
    try:
        return msgspec.json.decode(content, type=dict[str, list[Look]]) if content else {}
    except msgspec.DecodeError:
        raise InputError(
            "what was seen of the server is damaged", where=str(path), fix="delete the file"
        ) from None


def _remembered(looks: Sequence[Look], longest: float) -> list[Look]:
    """The looks of so many seconds and the one before, fewer where they lie close."""
    now = looks[-1].at
    past = [each for each in looks[:-1] if each.at < now]  # a clock that went back forgets
    old = sum(each.at <= now - longest for each in past)
    kept: list[Look] = []
    for each in [*past[max(0, old - 1) :], looks[-1]]:
        close = len(kept) > 1 and each.at - kept[-2].at < longest / _PARTS
        if close and kept[-1].up == each.up == kept[-2].up:
            kept.pop()
        kept.append(each)
    return kept


def _findings(looks: Sequence[Look], alarms: dict[AlarmName, Alarm]) -> Iterator[Finding]:
    newest = looks[-1]
    if newest.refused is not None:
        yield Finding(
            "store", "warning", "metrics", f"the server's metrics answer {newest.refused}",
            {"status": newest.refused}, None, "set ROADWORTHY_API_KEY, or correct the address",
        )  # fmt: skip
    for name, alarm in alarms.items():
        if name not in ("down", "cpu", "memory") and not newest.up:
            continue
        said = _say(name, alarm, looks)
        if said is not None:
            what, value, start = said
            severity: Severity = "serious" if alarm.severity == "page" else "warning"
            kind: Kind = name  # type: ignore[assignment]
            evidence = {"value": value, "threshold": alarm.threshold}
            since = datetime.fromtimestamp(start, UTC)
            yield Finding(kind, severity, "service", what, evidence, since, alarm.action)


def _say(name: AlarmName, alarm: Alarm, looks: Sequence[Look]) -> tuple[str, float, float] | None:
    """What an alarm rings for in words, its value and since when; None where it does not."""
    if name == "down":
        return _down(alarm, looks)
    span = _span(looks, alarm.minutes * 60)
    if span is None:
        return None
    value = _value(name, span)
    if value is None:
        return None
    beyond = value > alarm.threshold if alarm.direction == ">" else value < alarm.threshold
    minutes = (span[-1].at - span[0].at) / 60
    if not beyond:
        return None
    return f"{_WORDS[name].format(value)} in {minutes:.0f} minutes", value, span[0].at


def _down(alarm: Alarm, looks: Sequence[Look]) -> tuple[str, float, float] | None:
    if looks[-1].up:
        return None
    first = looks[-1]
    for each in reversed(looks):
        if each.up:
            break
        first = each
    seconds = looks[-1].at - first.at
    if seconds < alarm.minutes * 60:
        return None
    return f"the server has not answered for {seconds / 60:.0f} minutes", 0.0, first.at


def _span(looks: Sequence[Look], seconds: float) -> Sequence[Look] | None:
    """The looks from the newest one that is so old; None where none is."""
    old = [n for n, each in enumerate(looks[:-1]) if each.at <= looks[-1].at - seconds]
    return looks[old[-1] :] if old else None


def _value(name: AlarmName, span: Sequence[Look]) -> float | None:
    """What an alarm measures; None where it cannot be known."""
    if name in ("cpu", "memory"):
        return _of_machine(name, [each.machine for each in span])
    told = [each.totals for each in span if each.totals is not None]
    if span[0].totals is None or span[-1].totals is None:
        return None
    came = _came_between([{(key, limit): value for key, limit, value in one} for one in told])
    requests = came.get(("roadworthy_requests_total", ""), 0.0)
    if name == "no_traffic":
        return requests
    if name == "log_lost":
        return came.get(("roadworthy_log_dropped_total", ""), 0.0)
    if name == "errors":
        return came.get(("roadworthy_errors_total", ""), 0.0) / requests if requests else None
    return quantile(sorted((float(limit), n) for (_, limit), n in came.items() if limit), _QUANTILE)


def _of_machine(name: AlarmName, seen: Sequence[Machine | None]) -> float | None:
    known = [each for each in seen if each is not None]
    if len(known) < len(seen):
        return None
    if name == "memory":
        return min(each.memory for each in known)
    passed = known[-1].all - known[0].all
    return (known[-1].busy - known[0].busy) / passed if passed > 0 else None


def _came_between(told: Sequence[Totals]) -> Totals:
    """What counters grew by; between two looks one may have begun anew."""
    came: Totals = {}
    for before, after in pairwise(told):
        for name, value in after.items():
            came[name] = came.get(name, 0.0) + growth(value, before.get(name, 0.0))
    return came


def quantile(buckets: Sequence[tuple[float, float]], share: float) -> float | None:
    """A quantile of cumulative buckets, linear within one, as Prometheus' histogram_quantile.

    Args:
        buckets: Upper limits, rising, the last one infinite, and how many values are not above.
        share: Which quantile, 0 to 1.
    """
    if not buckets or buckets[-1][1] <= 0:
        return None
    rank = share * buckets[-1][1]
    lower, below = 0.0, 0.0
    for limit, count in buckets:
        if count >= rank:
            if limit == float("inf"):
                break
            return lower + (limit - lower) * (rank - below) / (count - below)
        lower, below = limit, count
    return lower
