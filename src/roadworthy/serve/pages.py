"""The pages: static, self-contained, made from a template file and the contract."""

from __future__ import annotations

import html
import importlib.resources
from typing import Any

import msgspec

from roadworthy.bundle import Bundle
from roadworthy.cells import json_level
from roadworthy.contract import Column, describe

_MAX_OPTIONS = 200


_SIGN_OUT = (
    '<form method="post" action="{}logout"><button class="plain">Forget my key</button></form>'
)


def docs_page(bundle: Bundle, *, closed: bool = False, root: str = "") -> bytes:
    """The page to try a prediction on: a form built from the contract.

    Args:
        bundle: The bundle.
        closed: Whether the service asks for a key.
        root: The folder that the page is in.
    """
    template = importlib.resources.files("roadworthy.serve").joinpath("docs.html").read_text()
    manifest, target = bundle.manifest, bundle.contract.target
    # "<" is escaped so that no text of the table can end the script element.
    data = msgspec.json.encode(_form(bundle) | {"closed": closed}).decode().replace("<", "\\u003c")
    shown = {
        "NAME": manifest.name,
        "VERSION": manifest.short_version,
        "TARGET": target.name,
        "TASK": manifest.task,
        "FAMILY": manifest.family,
    }
    page = template
    for key, value in shown.items():
        page = page.replace(f"{{{{{key}}}}}", html.escape(value))
    up = "../" * root.count("/")
    page = page.replace("{{SIGN OUT}}", _SIGN_OUT.format(up) if closed else "")
    return page.replace("{{DATA}}", data).encode()


def dashboard_page(*, closed: bool = False) -> bytes:
    """The page that shows live traffic; it asks for `/metrics` every two seconds.

    Args:
        closed: Whether the service asks for a key.
    """
    page = importlib.resources.files("roadworthy.serve").joinpath("dashboard.html").read_text()
    return page.replace("{{SIGN OUT}}", _SIGN_OUT.format("") if closed else "").encode()


def _form(bundle: Bundle) -> dict[str, Any]:
    contract = bundle.contract
    return {
        "example": contract.example(),  # a typical row, not one of the table's
        "columns": [_field(column) for column in contract.columns],
        "metrics": bundle.report["metrics"],
        "holdout": bundle.report["rows"],
    }


def _field(column: Column) -> dict[str, Any]:
    levels = column.levels()[:_MAX_OPTIONS]
    return {
        "name": column.name,
        "kind": column.kind,
        "dtype": column.dtype,
        "about": describe(column),
        "levels": levels if column.dtype == "string" else [json_level(level) for level in levels],
    }
