"""A verdict as Markdown: short enough for a comment on a pull request."""

from __future__ import annotations

from roadworthy.evaluate.page.words import MARKS, WORDS, interval, number, title
from roadworthy.evaluate.verdict import Verdict

_GATES = 30
_ROWS = 8
_ESCAPED = str.maketrans(
    {**{mark: f"\\{mark}" for mark in "\\`*_[]|#"}, "<": "&lt;", ">": "&gt;", "@": "&#64;"}
)


def render_markdown(verdict: Verdict) -> str:
    """The verdict, the gates, the first metrics and the worst subgroups."""
    version = f":{verdict.version[:12]}" if verdict.version else ""
    stopping = verdict.stopping()
    word = "✅ passes" if verdict.passed else "❌ is stopped"
    lines = [f"### {_safe(verdict.name + version)} {word}", ""]
    if not verdict.checks:
        lines[0] = f"### {_safe(verdict.name + version)}: no gates are set"
    lines.append(f"Asked {_safe(verdict.asked)}, measured on {_safe(verdict.data)}.")
    if stopping:
        lines += ["", "**Stopped by**", ""]
        lines += [f"- `{_code(c.name)} {_code(c.rule)}`: {_safe(c.reason)}" for c in stopping[:10]]
    if verdict.checks:
        lines += ["", "| | gate | asked | found |", "| --- | --- | --- | --- |"]
        for check in verdict.checks[:_GATES]:
            found = "" if check.found is None else str(check.found)
            lines.append(
                f"| {MARKS[check.outcome]} {WORDS[check.outcome]} | {_safe(check.name)} | "
                f"{_safe(check.rule)} | {_safe(found)} |"
            )
        if len(verdict.checks) > _GATES:
            lines.append(f"| | … {len(verdict.checks) - _GATES} more | | |")
    return "\n".join([*lines, *_metrics(verdict), *_slices(verdict), *_data(verdict)]) + "\n"


def _metrics(verdict: Verdict) -> list[str]:
    report = verdict.report
    if report is None:
        return []
    lines = ["", f"| metric on {report.rows:,} rows | value | 95 % interval | baseline |"]
    lines.append("| --- | ---: | ---: | ---: |")
    first = [report.metric, *report.metrics]
    for name in list(dict.fromkeys(first))[:_ROWS]:
        estimate = report.metrics[name]
        lines.append(
            f"| {title(name)} | {number(estimate.value)} | {interval(estimate)} | "
            f"{number(report.baseline.get(name))} |"
        )
    return lines


def _slices(verdict: Verdict) -> list[str]:
    report = verdict.report
    confirmed = [entry for entry in report.found if entry.confirmed] if report else []
    if not confirmed:
        return []
    lines = ["", "**Weakest subgroups** (found on half of the rows, confirmed on the other)", ""]
    for entry in confirmed[:3]:
        where = " and ".join(entry.conditions)
        lines.append(
            f"- {_safe(where)}: {title(entry.metric).lower()} {number(entry.estimate.value)} "
            f"on {entry.rows:,} rows, {number(entry.gap.value)} worse than elsewhere"
        )
    return lines


def _data(verdict: Verdict) -> list[str]:
    shown = [entry for entry in verdict.findings if entry.kind != "extra"]
    if not shown:
        return []
    lines = ["", "**The new data**", ""]
    lines += [
        f"- {_safe(entry.column)}: {_safe(entry.what)} ({entry.rows:,} rows)"
        for entry in shown[:_ROWS]
    ]
    if len(shown) > _ROWS:
        lines.append(f"- … {len(shown) - _ROWS} more")
    return lines


def _safe(text: str) -> str:
    """Text of the table or the user that cannot end a cell or become markup."""
    flat = " ".join(text.split())[:300]
    return flat.translate(_ESCAPED)


def _code(text: str) -> str:
    return " ".join(text.split())[:120].replace("`", "'").replace("|", "\\|")
