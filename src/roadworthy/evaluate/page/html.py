"""The report as one self-contained HTML page: no script, no address, inline SVG.

The verdict comes first, then what it rests on, in the order in which a reader who has to sign for
a model asks: how good, for whom not, does it hold, how does it behave, what was it made from.
"""

from __future__ import annotations

import html
import importlib.resources

from roadworthy.evaluate.page import data, quality, trials
from roadworthy.evaluate.page.words import badge, interval, number, numeral, table, title
from roadworthy.evaluate.verdict import Verdict

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def render_page(verdict: Verdict) -> str:
    """The page of a verdict, deterministic in it."""
    style = importlib.resources.files("roadworthy.evaluate.page").joinpath("report.css").read_text()
    sections = [(name, anchor, body) for name, anchor, body in _sections(verdict) if body]
    links = "".join(f'<a href="#{anchor}">{name}</a>' for name, anchor, _ in sections)
    bodies = "".join(
        f'<section id="{anchor}"><h2>{name}</h2>{body}</section>' for name, anchor, body in sections
    )
    name = html.escape(_name(verdict))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{name}: test report</title><style>{style}</style></head><body><main>"
        f"{_head(verdict)}{_tiles(verdict)}<nav>{links}</nav>{bodies}</main></body></html>\n"
    )


def _name(verdict: Verdict) -> str:
    return verdict.name + (f":{verdict.version[:12]}" if verdict.version else "")


def _sections(verdict: Verdict) -> list[tuple[str, str, str]]:
    report = verdict.report
    found = [("Gates", "gates", _gates(verdict))]
    if report is not None:
        found += [
            ("How good", "quality", quality.measured(report)),
            ("Against the champion", "champion", quality.champion(report)),
            ("For whom not", "slices", quality.slices(report)),
            ("What it leans on", "importance", quality.importance(report)),
            ("Does it hold", "stability", data.stability(report)),
        ]
    shift = report.shift if report else None
    found.append(("Is the data what it learned from", "data", data.incoming(verdict, shift)))
    found.append(("How it behaves", "behaviour", trials.behaviour(verdict)))
    if report is not None:
        found.append(("What was trained on what", "training", data.training(report)))
    found.append(("How to read this", "reading", _reading()))
    return found


def _head(verdict: Verdict) -> str:
    stopping = verdict.stopping()
    report = verdict.report
    what = f"predicts {report.target} ({report.task})" if report else ""
    on = f"{report.rows:,} rows of {report.source}" if report and report.source else verdict.data
    told = f"{what}; asked {verdict.asked}, measured on {on}".strip("; ")
    passed = sum(check.outcome == "pass" for check in verdict.checks)
    if not verdict.checks:
        word, kind = "Measured. No gates were set: nothing was required of this model.", ""
    elif verdict.passed:
        word, kind = f"✓ Passes: {passed} of {len(verdict.checks)} gates hold.", "pass"
    else:
        count = f"{len(stopping)} of {len(verdict.checks)} gates"
        word, kind = f"✗ Stopped by {count}.", "fail"
    reasons = "".join(
        f"<p><b>{html.escape(check.name)}</b> {html.escape(check.rule)}: "
        f"{html.escape(check.reason)}</p>"
        for check in stopping[:6]
    )
    return (
        f'<header class="verdict {kind}"><h1>{html.escape(_name(verdict))}</h1>'
        f'<p class="soft">{html.escape(told)}</p><p class="word">{html.escape(word)}</p>'
        f"{reasons}</header>"
    )


def _tiles(verdict: Verdict) -> str:
    report, tiles = verdict.report, []
    if report is not None:
        second = {"regression": ("mae", "r2")}.get(report.task, ("accuracy", "log_loss"))
        for name in dict.fromkeys((report.metric, *second)):
            estimate = report.metrics[name]
            base = number(report.baseline.get(name))
            tiles.append(
                (number(estimate.value), title(name), f"{interval(estimate)}; guessing {base}")
            )
        confirmed = [entry for entry in report.found if entry.confirmed]
        tiles.append((str(len(confirmed)), "weak subgroups confirmed", "of those searched"))
    failed = sum(not entry.passed for entry in verdict.tests)
    if verdict.tests:
        tiles.append((f"{len(verdict.tests) - failed} of {len(verdict.tests)}", "tests hold", ""))
    for name, estimate in verdict.costs.items():
        tiles.append((number(estimate.value), title(name), interval(estimate)))
    drawn = "".join(
        f'<div class="tile"><b>{html.escape(value)}</b>{html.escape(name)}'
        f"<span>{html.escape(more)}</span></div>"
        for value, name, more in tiles
    )
    return f'<div class="tiles">{drawn}</div>'


def _gates(verdict: Verdict) -> str:
    rows = [
        [
            badge(check.outcome),
            check.name,
            check.rule,
            numeral("" if check.found is None else number(check.found.value)),
            check.reason,
        ]
        for check in verdict.checks
    ]
    if not rows:
        return "<p>Set them in <b>[gates]</b> of the project file.</p>"
    counts = f"Not enough evidence counts as <b>{verdict.undecided}</b> here."
    heads = ("", "gate", "asked", "found", "why")
    return f"<p>Each is decided on a 95 % interval. {counts}</p>{table(heads, rows, 'gates')}"


def _reading() -> str:
    return (
        "<p><b>Intervals</b> hold the true value about 19 times in 20: Wilson's for shares, "
        "Poisson bootstrap (by group where the table has groups) for all else, DeLong's for areas "
        "in subgroups. <b>Guessing</b> always answers the shares of the classes, or the mean.</p>"
        "<p><b>Macro</b> is the plain mean over classes, <b>weighted</b> that by their rows. "
        "<b>ECE</b> is the mean distance between claimed probability and what came true, over ten "
        "bins of equal rows. <b>Brier</b> is the mean squared distance of the probabilities.</p>"
        "<p><b>Gaps</b> of a subgroup are against all other rows. <b>Weak subgroups</b> are "
        "searched on one half of the rows and confirmed on the other, corrected for the search. "
        "<b>Drift</b> is the population stability index: below 0.1 is small, above 0.25 large.</p>"
        "<p><b>Importance</b> is what a metric loses when a column is shuffled; columns that say "
        "the same share it between them.</p>"
    )
