"""A digest of training rows, and the versions of what trains on them."""

from __future__ import annotations

import hashlib
import importlib.metadata

import polars as pl

from roadworthy.table import Table

_LIBRARIES = (
    "roadworthy", "numpy", "polars", "scikit-learn", "lightgbm", "catboost", "xgboost",
    "xgboost-cpu", "optuna",
)  # fmt: skip


def data_digest(table: Table) -> str:
    """SHA-256 over every cell, column names, target, groups and times."""
    digest = hashlib.sha256()
    for name in table.frame.columns:
        column = table.frame[name]
        digest.update(f"{name}\x00{column.dtype}\x00{len(column)}\x00".encode())
        digest.update(column.is_null().to_numpy().tobytes())
        if column.dtype == pl.String:
            lengths = column.str.len_bytes().fill_null(0).to_numpy()
            digest.update(lengths.tobytes())
            digest.update((column.fill_null("").str.join("").item() or "").encode())
        else:
            filled = column.to_physical().fill_null(False if column.dtype == pl.Boolean else 0)
            digest.update(filled.to_numpy().tobytes())
    for part in (table.labels, table.groups, table.times):
        digest.update(b"\x00" if part is None else part.tobytes())
    digest.update(repr((table.target, table.task, table.classes)).encode())
    return digest.hexdigest()


def library_versions() -> dict[str, str]:
    """Name -> version of the libraries that are installed."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
