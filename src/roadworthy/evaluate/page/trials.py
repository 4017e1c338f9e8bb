"""The report's section on tests: golden rows, expected predictions, behaviour."""

from __future__ import annotations

import html

from roadworthy.evaluate.behaviour import Behaviour
from roadworthy.evaluate.page.words import badge, numeral, plain, table
from roadworthy.evaluate.verdict import Verdict


def behaviour(verdict: Verdict) -> str:
    """Every test, and the rows that show each failure."""
    rows = [
        [
            badge("pass" if entry.passed else "fail", _word(entry)),
            entry.name,
            entry.expectation,
            numeral(f"{entry.rows:,}"),
            numeral(f"{entry.failures:,}"),
            entry.note,
        ]
        for entry in verdict.tests
    ]
    heads = ("", "test", "what must hold", "rows", "failures", "")
    failed = "".join(_examples(entry) for entry in verdict.tests if entry.examples)
    return table(heads, rows) + failed if rows else ""


def _word(entry: Behaviour) -> str:
    if not entry.rows:
        return "nothing to test"
    return "holds" if entry.passed else "fails"


def _examples(entry: Behaviour) -> str:
    shown = []
    for example in entry.examples:
        lines = [f"row: {plain(example.row)}"]
        lines += [f"changed: {plain(example.change)}"] if example.change else []
        lines.append(f"answer: {plain(example.before)} → {plain(example.after)}")
        shown.append(f"<pre>{html.escape(chr(10).join(lines))}</pre>")
    return (
        f"<details open><summary>{html.escape(entry.name)}: {len(shown)} of "
        f"{entry.failures:,} failures</summary>{''.join(shown)}</details>"
    )
