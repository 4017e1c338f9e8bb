"""JUnit XML: what GitHub, GitLab and Jenkins read of a test run."""

from __future__ import annotations

import re
from xml.sax.saxutils import escape, quoteattr

from roadworthy.evaluate.behaviour import Behaviour
from roadworthy.evaluate.gates import Check
from roadworthy.evaluate.verdict import Verdict

_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold."""


def render_junit(verdict: Verdict) -> str:
    """A verdict as a `testsuites` document: one suite of gates, one of the tests behind them.

    A gate without enough evidence is a failure or skipped, as the project says it counts. A
    behavioural test that no gate asks for is told as skipped when it fails: it stops nothing.
    """
    asked = any(check.name == "behaviour" for check in verdict.checks)
    gates = [_gate(check, verdict) for check in verdict.checks]
    tests = [_test(entry, asked) for entry in verdict.tests]
    suites = [_suite("gates", gates), _suite("tests", tests)]
    failures = sum(case.count("<failure") for case in gates + tests)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<testsuites name={_attribute(f'roadworthy {verdict.name}')} "
        f'tests="{len(gates) + len(tests)}" failures="{failures}" errors="0">\n'
        f"{''.join(suites)}</testsuites>\n"
    )


def _suite(name: str, cases: list[str]) -> str:
    failures = sum(case.count("<failure") for case in cases)
    skipped = sum(case.count("<skipped") for case in cases)
    return (
        f'  <testsuite name="{name}" tests="{len(cases)}" failures="{failures}" errors="0" '
        f'skipped="{skipped}" time="0">\n{"".join(cases)}  </testsuite>\n'
    )


def _gate(check: Check, verdict: Verdict) -> str:
    stops = check.outcome == "fail" or (
        check.outcome == "undecided" and verdict.undecided == "fail"
    )
    inner = ""
    if stops:
        kind = "fail" if check.outcome == "fail" else "not enough evidence"
        inner = f'<failure message={_attribute(check.reason)} type="{kind}"/>'
    elif check.outcome == "undecided":
        inner = f"<skipped message={_attribute('not enough evidence: ' + check.reason)}/>"
    return _case("gates", f"{check.name} {check.rule}", inner)


def _test(entry: Behaviour, asked: bool) -> str:
    inner = ""
    if not entry.passed:
        message = entry.note or f"{entry.failures} of {entry.rows} rows: {entry.expectation}"
        shown = "\n".join(
            f"row {example.row}, changed {example.change}: {example.before} -> {example.after}"
            for example in entry.examples
        )
        if asked or entry.name in ("golden", "expected"):
            inner = (
                f'<failure message={_attribute(message)} type="fail">'
                f"{escape(_clean(shown))}</failure>"
            )
        else:
            inner = f"<skipped message={_attribute('failed, no gate asks for it: ' + message)}/>"
    return _case("tests", entry.name, inner)


def _case(suite: str, name: str, inner: str) -> str:
    opened = f'    <testcase classname="roadworthy.{suite}" name={_attribute(name)} time="0"'
    return f"{opened}>{inner}</testcase>\n" if inner else f"{opened}/>\n"


def _attribute(text: str) -> str:
    return quoteattr(_clean(text), {"\n": "&#10;"})


def _clean(text: str) -> str:
    return _ILLEGAL.sub("?", text)
