"""What jobs need of each other: no unknown names, no circles."""

from __future__ import annotations

from roadworthy.pipeline.rules._base import Findings


def inspect_needs(jobs: dict[str, tuple[int, list[str]]], found: Findings) -> None:
    """Look for jobs that can never start.

    Args:
        jobs: For each job its line and the jobs that it needs.
        found: Takes what is found.
    """
    for name, (line, needs) in jobs.items():
        for need in needs:
            if need not in jobs:
                what = f"job {name} needs {need!r}, which is not there"
                found.add("needs", line, what, f"one of: {', '.join(jobs)}")
    started: set[str] = set()
    waiting = dict(jobs)
    while waiting:
        ready = [
            name
            for name, (_, needs) in waiting.items()
            if all(need in started or need not in jobs for need in needs)
        ]
        if not ready:
            first = next(iter(waiting))
            what = f"these jobs wait for each other: {', '.join(waiting)}"
            found.add("needs", waiting[first][0], what, "take one need away")
            return
        started.update(ready)
        for name in ready:
            del waiting[name]
