"""Score many files: plan, run what is not done yet, and say with a manifest that all is there."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from roadworthy.batch.copies import copied
from roadworthy.batch.local import run_local
from roadworthy.batch.places import DRAFT, Input, Place, find_inputs, open_place
from roadworthy.batch.planning import plan_tasks
from roadworthy.batch.tasks import (
    MANIFEST,
    PLAN,
    PROGRESS,
    BadRows,
    Format,
    Job,
    Model,
    Plan,
    Receipt,
    Task,
    receipt_name,
)
from roadworthy.bundle import Bundle
from roadworthy.errors import InputError
from roadworthy.progress import Progress, Report
from roadworthy.table.file_names import shown_name

Engine = Literal["local", "ray"]
PARTITION_MB = 16.0


class Result(NamedTuple):
    """What a run came to.

    Attributes:
        output: Where the partitions are.
        rows: Rows of the inputs.
        rejected: Rows without a prediction, listed in `_rejects/`.
        parts: Partitions.
        resumed: Tasks that an earlier run had done.
        version: The model's version.
    """

    output: str
    rows: int
    rejected: int
    parts: int
    resumed: int
    version: str


def predict_files(
    inputs: Sequence[str],
    bundle: Bundle,
    output: str,
    *,
    engine: Engine = "local",
    format: Format = "parquet",  # noqa: A002 (the command line's name)
    bad_rows: BadRows = "stop",
    keep: Sequence[str] = (),
    workers: int | None = None,
    address: str | None = None,
    partition_mb: float = PARTITION_MB,
    overwrite: bool = False,
    query: str | None = None,
    report: Report | None = None,
) -> Result:
    """Score files of any size into partitions of a folder or of a bucket's prefix.

    Every row of the inputs is scored exactly once, however often the run is ended and begun
    again: partitions are written whole or not at all, under names that the plan gives them, and
    `_manifest.json`, which lists them, comes last. A run that finds the manifest of the same
    model, inputs and options does nothing.

    Args:
        inputs: Paths, folders, globs and addresses (`s3://`, `gs://`, `az://`) of CSV and Parquet
            files, and tables of databases (`postgresql://HOST/DB#TABLE`, `sqlite:///FILE#TABLE`).
        bundle: The model.
        output: A folder or an address.
        engine: `local` runs in processes of this machine, `ray` on a Ray cluster, whose nodes
            must reach the inputs and the output under the same names.
        format: Of the partitions.
        bad_rows: `stop` ends the run at a row that breaks the contract; `reject` lists it with
            the reason and goes on.
        keep: Columns of the inputs to write beside the predictions.
        workers: Processes; None is one a core.
        address: Of the Ray cluster; None takes `RAY_ADDRESS`, or starts one here.
        partition_mb: Megabytes of input in a partition: of text, or of Parquet before packing.
        overwrite: Begin anew where another run's partitions are.
        query: What is read of a database whose address names no table.
        report: Called with the progress.

    Returns:
        What it came to.

    Raises:
        InputError: An input cannot be read, or a row breaks the contract and `bad_rows` is
            `stop`, or the output holds something else.
        OutsideError: A store, a disk or a cluster cannot be used.
    """
    told = report or (lambda _: None)
    count = workers or os.cpu_count() or 1
    if count < 1 or partition_mb <= 0:
        raise InputError("workers and partition_mb must be above 0")
    check_keep(bundle, keep)
    output = shown_name(output)
    job = Job(output, format, bad_rows, tuple(keep), int(partition_mb * 1e6))
    model = Model(bundle.contract, bundle.plan, bundle.core, bundle.version)
    with copied(inputs, query) as (files, copies):
        if copies and engine == "ray":
            raise InputError(
                "a cluster reads no database: every worker would ask for all of it",
                where=next(iter(copies)),
                fix="leave --engine out, or give files that all nodes reach",
            )
        found = find_inputs(files) if files else []
        wanted = sorted([*found, *copies.values()], key=lambda each: each.path)
        return _score(wanted, job, model, bundle, _runner(engine, address), count, overwrite, told)


def _score(
    files: list[Input],
    job: Job,
    model: Model,
    bundle: Bundle,
    run: Run,
    workers: int,
    overwrite: bool,
    told: Report,
) -> Result:
    place = open_place(job.output)
    plan = _plan(files, job, model, place, overwrite, told)
    receipts = _receipts(plan, place)
    resumed = len(receipts)
    if place.read(MANIFEST) is None or resumed < len(plan.tasks):
        _run(plan, files, model, receipts, run, workers, told)
        _finish(plan, receipts, bundle, place)
    rows = sum(receipt.rows for receipt in receipts.values())
    rejected = sum(receipt.rejected for receipt in receipts.values())
    parts = sum(len(receipt.parts) for receipt in receipts.values())
    return Result(job.output, rows, rejected, parts, resumed, bundle.version)


def check_keep(bundle: Bundle, keep: Sequence[str]) -> None:
    """Refuse to keep columns that the output has already.

    Raises:
        InputError: A column would stand twice.
    """
    target = bundle.contract.target
    made = {"file", "row", "prediction", "low", "high"}
    made |= {f"probability_{name}" for name in target.class_names}
    for name in keep:
        if name in made or keep.count(name) > 1:
            raise InputError(f"column {name!r} would stand twice in the output", where="--keep")


Run = Callable[[list[Any], Job, Model, int, Callable[[Receipt], None]], None]


def _runner(engine: Engine, address: str | None) -> Run:
    if engine == "local":
        return run_local
    from roadworthy.batch.on_ray import run_on

    return run_on(address)


def _plan(
    files: list[Input], job: Job, model: Model, place: Place, overwrite: bool, told: Report
) -> Plan:
    """The plan of an earlier run of the same, or a new one."""

    def planned() -> tuple[Task, ...]:
        tasks = plan_tasks(
            files, model.contract, job.partition_bytes, lambda path: told(Progress("plan", path))
        )
        return tuple(replace(task, input=task.input.original) for task in tasks)

    original = [each.original for each in files]
    known = place.read(PLAN)
    if known is not None and not overwrite:
        try:
            plan = msgspec.json.decode(known, type=Plan)
        except msgspec.DecodeError:
            plan = None
        same = plan is not None and plan.same_run(model.version, job, original)
        # a copy of a table is another file each time, and its groups of rows may be others
        if plan is not None and same and (files == original or planned() == plan.tasks):
            return plan
        raise InputError(
            "the folder holds a run of other inputs, options or another model",
            where=place.shown,
            fix="name another folder, or begin anew with --overwrite",
        )
    sizes = place.sizes()
    strange = [name for name in sizes if not _is_ours(name)]
    if strange or (sizes and known is None):
        raise InputError(
            f"the folder holds files that are no run's: {(strange or list(sizes))[0]}",
            where=place.shown,
            fix="name another folder",
        )
    told(Progress("plan", f"{len(files):,} files"))
    tasks = planned()
    if MANIFEST in sizes:
        place.delete(MANIFEST)  # first: what is half gone must not look whole
    for name in sizes:
        if name not in (MANIFEST, PLAN):
            place.delete(name)
    plan = Plan(model.version, job, tasks)
    place.write(PLAN, msgspec.json.encode(plan))
    return plan


def _is_ours(name: str) -> bool:
    known = ("part-", PROGRESS, "_rejects/", DRAFT)
    return name in (PLAN, MANIFEST) or name.startswith(known)


def _receipts(plan: Plan, place: Place) -> dict[int, Receipt]:
    """What is done: receipts whose partitions are there, as long as they were written."""
    sizes = place.sizes()
    found = {}
    for task in plan.tasks:
        name = receipt_name(task.number)
        content = place.read(name) if name in sizes else None
        if content is None:
            continue
        receipt = msgspec.json.decode(content, type=Receipt)
        if all(sizes.get(p.name) == p.bytes for p in (*receipt.parts, *receipt.rejects)):
            found[task.number] = receipt
    return found


def _run(
    plan: Plan,
    files: list[Input],
    model: Model,
    receipts: dict[int, Receipt],
    run: Run,
    workers: int,
    told: Report,
) -> None:
    total = len(plan.tasks)
    rows = sum(each.rows for each in receipts.values())

    def done(receipt: Receipt) -> None:
        nonlocal rows
        receipts[receipt.task] = receipt
        rows += receipt.rows
        told(Progress("predict", f"{rows:,} rows", len(receipts), total))

    near = {each.path: each for each in files}
    left = [
        replace(task, input=near[task.input.path])
        for task in plan.tasks
        if task.number not in receipts
    ]
    told(Progress("predict", f"{len(left):,} parts to do", len(receipts), total))
    if left:
        run(left, plan.job, model, workers, done)


def _finish(plan: Plan, receipts: dict[int, Receipt], bundle: Bundle, place: Place) -> None:
    """Remove what killed workers left behind, and write the manifest."""
    named = {p.name for r in receipts.values() for p in (*r.parts, *r.rejects)}
    for name in place.sizes():
        if name.startswith(("part-", "_rejects/", DRAFT)) and name not in named:
            place.delete(name)
    ordered = [receipts[task.number] for task in plan.tasks]
    inputs = {task.input.path: task.input for task in plan.tasks}
    manifest = {
        "model": bundle.manifest.name,
        "version": bundle.version,
        "rows": sum(receipt.rows for receipt in ordered),
        "rejected": sum(receipt.rejected for receipt in ordered),
        "options": plan.job,
        "inputs": list(inputs.values()),
        "parts": [part for receipt in ordered for part in receipt.parts],
        "rejects": [part for receipt in ordered for part in receipt.rejects],
    }
    place.write(MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
