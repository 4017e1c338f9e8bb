"""Durations and schedules: what a CI system would refuse, or take for something else."""

from __future__ import annotations

import re

_FIELDS = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)]
_UNITS = (
    r"(s|sec|secs|second|seconds|m|min|mins|minute|minutes|h|hr|hrs|hour|hours|d|day|days"
    r"|w|week|weeks|mo|mos|month|months|y|yr|year|years)"
)
_DURATION = re.compile(rf"(\d+(\.\d+)?\s*{_UNITS}(\s*,?\s*(and\s+)?)?)+", re.IGNORECASE)
_NUMBER = re.compile(r"\d{1,2}")


def is_cron(text: str, *, hashed: bool = False) -> bool:
    """Whether a text is a schedule of five fields in their ranges.

    Args:
        text: The text.
        hashed: Whether `H` may stand for a number, as in Jenkins.
    """
    fields = text.split()
    return len(fields) == 5 and all(
        _is_field(field, low, high, hashed)
        for field, (low, high) in zip(fields, _FIELDS, strict=True)
    )


def _is_field(field: str, low: int, high: int, hashed: bool) -> bool:
    for part in field.split(","):
        span, _, step = part.partition("/")
        if step and not (_NUMBER.fullmatch(step) and 0 < int(step) <= high):
            return False
        if span == "*" or (hashed and re.fullmatch(r"H(\(\d+-\d+\))?", span)):
            continue
        ends = span.split("-")
        if len(ends) > 2 or not all(map(_NUMBER.fullmatch, ends)):
            return False
        numbers = [int(end) for end in ends]
        if numbers != sorted(numbers) or numbers[0] < low or numbers[-1] > high:
            return False
    return True


def is_duration(text: str) -> bool:
    """Whether a text is a duration as GitLab takes them: `40 minutes`, `1h 30m`, `30 days`."""
    return bool(_DURATION.fullmatch(text.strip())) and bool(re.search(r"[1-9]", text))
