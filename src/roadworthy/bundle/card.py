"""`card.md`: the model card, for people and, by its front matter, for model hubs.

Sections follow Mitchell et al., Model Cards for Model Reporting (2019); the front matter follows
the Hugging Face and skops convention. Only what is in the bundle is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from roadworthy.contract import Contract, describe

FILE_NAME = "card.md"
_SHOWN = 40


def model_card(
    name: str,
    family: str,
    contract: Contract,
    report: Mapping[str, Any],
    parity: Mapping[str, Any],
    environment: Mapping[str, str],
) -> str:
    """The card as Markdown with YAML front matter.

    Args:
        name: The model's name.
        family: The model's family.
        contract: The columns.
        report: The report, as plain data.
        parity: The evidence of parity, as plain data.
        environment: Versions of the training.
    """
    task = contract.target.task
    parts = [
        _front_matter(name, task, report),
        f"# {_plain(name)}\n\n"
        f"A model of the family *{_plain(family)}* that predicts "
        f"**{_plain(contract.target.name)}** ({task}) from {len(contract.columns)} columns.",
        _use(contract),
        _data(contract, report),
        _metrics(report),
        _slices(report),
        _limits(contract, report),
        _parity(parity),
        _how_to(contract),
        _environment(environment),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front_matter(name: str, task: str, report: Mapping[str, Any]) -> str:
    """YAML whose values are JSON, which YAML holds: no text can break out of its place."""
    kind = "tabular-regression" if task == "regression" else "tabular-classification"
    results = [
        {"type": metric, "value": found["value"]}
        for metric, found in sorted(report["metrics"].items())
        if found["value"] is not None
    ]
    values = {
        "library_name": "roadworthy",
        "model_name": name,
        "pipeline_tag": kind,
        "tags": ["roadworthy", "tabular", task],
        "metrics": results,
    }
    lines = [f"{key}: {msgspec.json.encode(value).decode()}" for key, value in values.items()]
    return "\n".join(["---", *lines, "---"])


def _use(contract: Contract) -> str:
    classes = ", ".join(f"`{_code(each)}`" for each in contract.target.class_names[:_SHOWN])
    answers = f"It answers one of: {classes}." if classes else "It answers a number."
    return (
        f"## Use\n\n{answers} It is meant for rows like those it was trained on (below); rows that "
        "break its contract are refused, and blanks, unseen levels and values out of range are "
        "answered with a warning."
    )


def _data(contract: Contract, report: Mapping[str, Any]) -> str:
    search = report["search"]
    trained = f"Trained on {search['training_rows']:,} rows, measured" if search else "Measured"
    rows = [
        (f"`{_code(column.name)}`", _plain(describe(column)))
        for column in contract.columns[:_SHOWN]
    ]
    more = len(contract.columns) - len(rows)
    text = (
        f"## Data\n\n{trained} on {report['rows']:,} rows that no choice looked at "
        f"({_plain(str(report['policy']))}).\n\n{_table(('column', 'what'), rows)}"
    )
    return text + (f"\n\n… and {more} more, in `contract.json`." if more else "")


def _metrics(report: Mapping[str, Any]) -> str:
    rows = []
    for name, found in report["metrics"].items():
        low, high = found.get("low"), found.get("high")
        interval = "" if low is None or high is None else f"{low:.4g} to {high:.4g}"
        baseline = _number(report["baseline"].get(name))
        rows.append((f"`{_code(name)}`", _number(found["value"]), interval, baseline))
    header = ("metric", "value", "95 % interval", "without a model")
    text = "## Metrics\n\nOn the held-out rows.\n\n" + _table(header, rows)
    classes = [
        (f"`{_code(each['name'])}`", *(_number(each[k]) for k in ("precision", "recall", "f1")),
         f"{each['rows']:,}")
        for each in report["classes"][:_SHOWN]
    ]  # fmt: skip
    if classes:
        text += "\n\n" + _table(("class", "precision", "recall", "F1", "rows"), classes)
    return text


def _slices(report: Mapping[str, Any]) -> str:
    found = [each for each in report["slices"] if each["estimate"]["value"] is not None]
    if not found:
        return ""
    found = sorted(found, key=lambda each: each["few"])[:_SHOWN]
    rows = [
        (f"`{_code(each['column'])}`", _plain(each["value"]), f"{each['rows']:,}",
         _number(each["estimate"]["value"]), "too few rows to act on" if each["few"] else "")
        for each in found
    ]  # fmt: skip
    header = ("column", "group", "rows", found[0]["metric"], "")
    return "## Subgroups\n\n" + _table(header, rows)


def _limits(contract: Contract, report: Mapping[str, Any]) -> str:
    lines = ["It knows nothing of rows unlike its training data, and nothing of causes."]
    if report["search"] and not report["search"]["complete"]:
        lines.append("The search was cut short by its budget: it may be possible to do better.")
    lines += [str(note) for note in report["notes"]]
    out = [str(each["name"]) for each in report["columns"] if not each["used"]]
    if out:
        lines.append(f"Columns that were left out: {', '.join(out[:_SHOWN])}.")
    refusing = [c.name for c in contract.columns if "error" in (c.on_blank, c.on_unseen)]
    if refusing:
        lines.append(f"Rows are refused for blanks or unseen levels in: {', '.join(refusing)}.")
    return "## Limits\n\n" + "\n".join(f"- {_plain(line)}" for line in lines)


def _parity(parity: Mapping[str, Any]) -> str:
    rows = [
        (_plain(way), f"{found['rows']:,}", str(found["different_labels"]),
         f"{found['largest_difference']:.1g}")
        for way, found in sorted(parity["ways"].items())
    ]  # fmt: skip
    return (
        "## Parity\n\nWhat is served was compared with what was trained, on the held-out rows and "
        "on generated ones.\n\n" + _table(("way", "rows", "labels that differ", "largest"), rows)
    )


def _how_to(contract: Contract) -> str:
    body = msgspec.json.format(msgspec.json.encode(contract.example()), indent=2).decode()
    return (
        "## How to use\n\n```sh\nroadworthy serve THIS_BUNDLE --port 8080\n"
        "roadworthy predict rows.csv --model THIS_BUNDLE -o scored.csv\n```\n\n"
        f"A row for `POST /predict`:\n\n{_fenced(body, 'json')}"
    )


def _environment(environment: Mapping[str, str]) -> str:
    rows = [(_plain(name), _plain(version)) for name, version in sorted(environment.items())]
    return "## Environment\n\n" + _table(("what", "version"), rows)


def _fenced(text: str, language: str) -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text}\n{fence}"


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(header)
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    text = " ".join(text.split())
    for sign in "\\`*_[]<>|#":
        text = text.replace(sign, f"\\{sign}")
    return text


def _code(text: str) -> str:
    return " ".join(str(text).split()).replace("`", "'").replace("|", "\\|")


def _number(found: Any) -> str:
    """A number, or the value of an estimate; nothing for one that could not be measured."""
    value = found["value"] if isinstance(found, Mapping) else found
    return "" if value is None else f"{value:.4g}"
