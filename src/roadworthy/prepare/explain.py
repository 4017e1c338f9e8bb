"""What is done with each column, and why, for people."""

from __future__ import annotations

import msgspec

from roadworthy.prepare.choices import Choice, check_options, choose
from roadworthy.prepare.fit import fit_encode
from roadworthy.prepare.plan import Feature
from roadworthy.project import PrepareSection
from roadworthy.table import ColumnProfile, Table

_ENCODINGS = {
    "number": "number",
    "boolean": "0 or 1",
    "parts": "date parts",
    "cyclic": "sines, cosines",
    "one_hot": "one-hot",
    "ordinal": "ordinal",
    "code": "code",
    "target": "target mean",
    "frequency": "log share",
    "hash": "hash buckets",
    "tf_idf": "tf-idf of words",
}


class ColumnExplanation(msgspec.Struct, frozen=True, kw_only=True):
    """What is done with one column.

    Attributes:
        column: The column.
        kind: What it is taken for.
        used: Whether the model gets it.
        encoding: How its cells become numbers.
        blank: What a blank becomes.
        scale: How models that need one scale bring it there; trees take the numbers as they are.
        features: Numbers of the vector that it becomes.
        reasons: Why.
    """

    column: str
    kind: str
    used: bool
    encoding: str = ""
    blank: str = ""
    scale: str = ""
    features: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()


def explain(table: Table, options: PrepareSection) -> tuple[ColumnExplanation, ...]:
    """Explain the preparation of a table, column by column.

    Args:
        table: The table; what is learned is learned from its training rows.
        options: `[prepare]`.

    Raises:
        InputError: An option does not fit its column.
    """
    training = table.training
    check_options(table.contract, options)
    plan = fit_encode(training.frame, training.labels, table.contract, options).plan
    features = plan.by_column()
    columns = {column.name: column for column in table.contract.columns}
    found = []
    for profile in table.profiles:
        if not profile.used:
            why = (profile.why_not or "",)
            found.append(
                ColumnExplanation(column=profile.name, kind=profile.kind, used=False, reasons=why)
            )
            continue
        series = training.frame[profile.name]
        choice = choose(columns[profile.name], series, table.task, len(table.classes), options)
        found.append(_explain(profile, choice, features[profile.name]))
    return tuple(found)


def _explain(profile: ColumnProfile, choice: Choice, features: list[Feature]) -> ColumnExplanation:
    kind = profile.kind
    return ColumnExplanation(
        column=choice.column,
        kind=kind,
        used=True,
        encoding=_ENCODINGS[choice.encoding],
        blank=_blank(profile, choice, features[0]),
        scale=choice.scale if kind in ("number", "date") else "",
        features=tuple(feature.name for feature in features),
        reasons=(f"kind: {profile.reason}", *choice.reasons),
    )


def _blank(profile: ColumnProfile, choice: Choice, feature: Feature) -> str:
    kind = profile.kind
    if kind == "text":
        return "no words"
    if choice.blank == "keep":
        if kind != "category":
            return "left to the model"
        return "own level" if profile.blanks else "most frequent"
    if choice.blank == "constant":
        return f"{choice.fill}"
    value = "" if kind in ("category", "date") else f" {feature.fill:.6g}"
    return choice.blank.replace("_", " ") + value
