"""`roadworthy init`: a commented project file from a table."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from roadworthy.cli.options import Json
from roadworthy.cli.output import print_json
from roadworthy.errors import InputError
from roadworthy.project import FILE_NAME, load_project


def init(
    data: Annotated[str, typer.Argument(help="CSV or Parquet file.")],
    target: Annotated[str, typer.Option("--target", help="The column to predict.")],
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    json: Json = False,
) -> None:
    """Write a commented roadworthy.toml for a table.

    Example: `roadworthy init adult.csv --target income`
    """
    from roadworthy.table import read_table

    file = Path(FILE_NAME)
    if file.exists() and not force:
        raise InputError("the project file exists already", where=FILE_NAME, fix="--force")
    table = read_table(data, target)
    columns = "\n".join(
        f"# {_quote(p.name)} = {{ kind = {_quote(p.kind)} }}  # {p.reason}" for p in table.profiles
    )
    text = _TEMPLATE.format(
        name=_quote(table.name), path=_quote(data), target=_quote(target), columns=columns
    )
    with tempfile.NamedTemporaryFile("w", dir=".", delete=False, encoding="utf-8") as draft:
        draft.write(text)
    Path(draft.name).chmod(0o644)
    Path(draft.name).replace(file)
    load_project(file)
    if json:
        print_json({"project": str(file), "columns": len(table.profiles)})
    else:
        typer.echo(f"{FILE_NAME} written: {len(table.profiles)} columns of {data}")


def _quote(text: str) -> str:
    return msgspec.json.encode(text).decode()  # a JSON string is a TOML basic string


_TEMPLATE = """\
# What Roadworthy does with this table. Every key may be left out: what stands behind # is the
# default. ROADWORTHY_SECTION_KEY in the environment overrides a key.

[project]
name = {name}

[data]
path = {path}
target = {target}
# task = "auto"              # auto, binary, multiclass, regression
# holdout = 0.2              # share of rows that no choice looks at
# group = "customer_id"      # rows of one group stay together
# time = "date"              # the newest rows are held out
# drop = []                  # columns to leave out
# delimiter = ","            # found out when left out; so are encoding and header
# blanks = ["", "na", "n/a", "nan", "null", "none", "?"]

[data.columns]
# What each column is taken for; take the # away to change it. Kinds: number, category, boolean,
# date, text, identifier, constant. Also: blank = "error", unseen = "error",
# date_format = "%d.%m.%Y"
{columns}

[prepare]
# number_blank = "mean"      # or median
# max_levels = 10000         # levels a category keeps; rarer ones count as unseen

[train]
# budget = "60s"             # for the whole job
# candidates = ["linear", "forest", "boosting"]
# metric = "auto"            # roc_auc, log_loss, accuracy, f1; rmse, mae
# folds = 5
# seed = 0
# n_jobs = 2                 # all cores when left out

[gates]
# What a release must reach; a gate is decided on its 95 % interval. Take the # away to ask for it.
# accuracy = ">= 0.85"       # or balanced_accuracy, roc_auc, log_loss, brier, mae, rmse, r2, ...
# recall.yes = ">= 0.7"      # of a class; also precision, f1
# slice_gap.accuracy = "<= 0.05"   # worse on a subgroup than on all other rows
# slice.region.accuracy = ">= 0.8" # on every level of a column
# no_worse_than = "champion" # --champion PATH, or a bundle's folder, or baseline
# behaviour = "all"          # every behavioural test holds
# expected = "tests/expected.csv"  # rows with expected predictions
# latency_p99_ms = "<= 20"   # also latency_p50_ms, microseconds_per_row, bundle_mb, age_days
# drift = "<= 0.2"           # of new data, also generalisation_gap.accuracy = "<= 0.02"
# slices = []                # columns to slice by; all that can be when left out
# slice_rows = 50            # rows below which a slice is not judged
# margin = 0.0               # what no_worse_than forgives
# no_worse_on = []           # metrics it compares; the search's own when left out
# golden = "all"             # or off
# expected_tolerance = 1e-6
# undecided = "fail"         # or pass: what not enough evidence counts as

[behaviour]
# monotone = {{ age = "up" }}  # or down: which way more of a column may move the answer
# monotone_class = "yes"     # whose probability that is
# invariant = []             # columns that may be swapped without moving the answer
# invariant_tolerance = 0.01
# max_jump = 0.1             # how far a tiny change may move an answer
# rows = 200
# skip = []

[package]
# formats = ["onnx"]         # also joblib
# directory = "bundles"

[serve]
# host = "127.0.0.1"
# port = 8080
# workers = 1
# absent = "error"           # or blank: take an absent column for a blank
# max_body_mb = 16.0
# max_rows = 20000
"""
