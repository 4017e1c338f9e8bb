"""The report that a bundle holds, and what is kept of a release that was rejected."""

from __future__ import annotations

from pathlib import Path

import msgspec

from roadworthy.bundle import Bundle
from roadworthy.bundle.manifest import to_json
from roadworthy.errors import InputError, OutsideError
from roadworthy.evaluate import Report
from roadworthy.evaluate.page import render_page
from roadworthy.evaluate.verdict import Verdict


def kept_report(bundle: Bundle) -> Report:
    """The report that a bundle holds.

    Raises:
        InputError: It is of another form than this version's.
    """
    try:
        return msgspec.convert(bundle.report, Report)
    except msgspec.ValidationError as error:
        raise InputError(
            f"the bundle's report is of another version: {error}",
            where=str(bundle.path / "report.json"),
            fix="package the model again",
        ) from None


def keep_evidence(verdict: Verdict, directory: Path) -> Path:
    """Write a rejected release's report beside the bundles; returns its folder.

    Raises:
        OutsideError: It cannot be written.
    """
    folder = directory / "rejected" / f"{verdict.name}-{verdict.version[:12]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in (
            ("report.html", render_page(verdict).encode()),
            ("verdict.json", to_json(verdict)),
        ):
            draft = folder / f".{name}.draft"
            draft.write_bytes(content)
            draft.replace(folder / name)
    except OSError as error:
        raise OutsideError(
            f"the evidence cannot be written: {error.strerror or error}", where=str(folder)
        ) from None
    return folder
