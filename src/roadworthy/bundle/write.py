"""Package a model: export the core, prove parity, write the bundle in one move."""

from __future__ import annotations

import datetime
import functools
import hashlib
import importlib.metadata
import io
import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.bundle import card, sbom
from roadworthy.bundle.answers import answer
from roadworthy.bundle.bundle import Bundle
from roadworthy.bundle.core import export_core
from roadworthy.bundle.engine import Engine
from roadworthy.bundle.formats import EXTRA, FORMATS
from roadworthy.bundle.formats.estimator import packaged_estimator
from roadworthy.bundle.frames import json_rows
from roadworthy.bundle.hostile import accepted
from roadworthy.bundle.keys import Signer, open_signer
from roadworthy.bundle.manifest import (
    CORE,
    FILE_NAME,
    FORMAT,
    FORMAT_WITH_CORE,
    SIGNATURE,
    Manifest,
    content_version,
    digest,
    to_json,
    verify,
)
from roadworthy.bundle.parity import Reference, check_parity
from roadworthy.bundle.portable import FILE_NAME as PORTABLE
from roadworthy.bundle.reference import make_reference
from roadworthy.bundle.requirements import SERVING, TRAINING, installed, requirements_text
from roadworthy.bundle.sign import sign_bundle, sign_contents
from roadworthy.errors import CheckFailed, InputError, OutsideError
from roadworthy.evaluate import Report
from roadworthy.evaluate.page import render_page
from roadworthy.evaluate.verdict import verdict_of
from roadworthy.project import NAME, NAME_RULE
from roadworthy.train import TrainedModel

GOLDEN_ROWS = 50
_LIBRARIES = ("numpy", "scikit-learn", "lightgbm", "polars", "onnx", "onnxruntime", "msgspec")


class Parts(NamedTuple):
    """What of a model goes into its bundle.

    Attributes:
        core: Everything after the plan, as ONNX; None where scikit-learn has to serve.
        estimator: Makes the scikit-learn estimator of raw rows, for the formats that hold one.
        reference: What is right, see `check_parity`; None takes stock transformers.
        lineage: Where the model came from.
        engine: What answers rows where there is no core.
        why: What is not in the bundle -> why.
        measured: Further numbers for the manifest.
    """

    core: bytes | None
    estimator: Callable[[], Any]
    reference: Reference | None = None
    lineage: Mapping[str, str] = {}
    engine: Engine | None = None
    why: Mapping[str, str] = {}
    measured: Mapping[str, float] = {}


def package(
    model: Any,
    report: Report | None = None,
    *,
    data: Any = None,
    target: str | None = None,
    formats: Sequence[str] = ("onnx",),
    directory: str | os.PathLike[str] = "bundles",
    signing_key: str | None = None,
    trusted_types: Sequence[str] = (),
    gate: Callable[[Bundle], object] | None = None,
) -> Bundle:
    """Make a bundle of a model that `train` made, or of one that was fitted elsewhere.

    Args:
        model: The trained model; or a fitted estimator or pipeline of scikit-learn's kind.
        report: Its report, from `test`; not for a model that was fitted elsewhere.
        data: For such a model sample rows with the target: a file or a data frame.
        target: For such a model the column that it predicts.
        formats: `onnx` (always in), and `joblib`, `pickle`, `skops`: the whole model as one
            scikit-learn estimator of raw rows.
        directory: The bundle becomes `directory/NAME/VERSION`.
        signing_key: The key that signs it: a PEM file, `env:NAME` or a key of a key service.
        trusted_types: Types that a skops file may hold besides those known to be harmless.
        gate: Called with the bundle before it gets its place; what it raises stops it.

    Returns:
        The bundle, opened again from disk and verified.

    Raises:
        CheckFailed: What would be served differs from what was trained.
        InputError: An unknown format, a key that cannot sign, or a model that cannot be served.
        OutsideError: The folder cannot be written, or the key service is out of reach.
    """
    options: dict[str, Any] = {
        "formats": formats,
        "directory": directory,
        "signing_key": signing_key,
        "trusted_types": trusted_types,
        "gate": gate,
    }
    if not isinstance(model, TrainedModel):
        from roadworthy.bundle.foreign import package_foreign

        if data is None:
            raise InputError(
                "a model that was fitted elsewhere needs sample rows",
                fix="rw.package(model, data=frame, target='column')",
            )
        return package_foreign(model, data, target, **options)
    if report is None:
        raise InputError("the model has no report", fix="rw.package(model, rw.test(model, …))")
    core = export_core(model.estimator, model.plan, len(model.contract.target.classes))
    parts = Parts(core, functools.partial(packaged_estimator, model))
    return write_bundle(model, report, parts, **options)


def write_bundle(
    model: TrainedModel,
    report: Report,
    parts: Parts,
    *,
    formats: Sequence[str],
    directory: str | os.PathLike[str],
    signing_key: str | None,
    trusted_types: Sequence[str],
    gate: Callable[[Bundle], object] | None,
) -> Bundle:
    """Prove parity and write the bundle; arguments, result and errors as `package`."""
    signer = open_signer(signing_key) if signing_key else None
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise InputError(
            f"unknown format {unknown[0]!r}",
            where="[package] formats",
            fix=f"choose from {', '.join(FORMATS)}",
        )
    if not NAME.fullmatch(model.name):
        raise InputError(f"{model.name!r} cannot name a model", fix=f"use {NAME_RULE}")
    core = parts.core
    engine = parts.engine or Engine(model.contract, model.plan, core or b"")
    estimator = parts.estimator() if set(formats) & EXTRA.keys() else None
    extra = {name: EXTRA[name].write(estimator) for name in formats if name in EXTRA}
    parity, portable = check_parity(
        model, engine, core, extra, trusted_types=trusted_types, reference=parts.reference
    )
    parity = msgspec.structs.replace(parity, refused={**parity.refused, **parts.why})
    files = {
        "contract.json": to_json(model.contract),
        "plan.json": to_json(model.plan),
        "parity.json": to_json(parity),
        "report.json": to_json(report),
        "report.html": render_page(verdict_of(report)).encode(),
        "golden.jsonl": _golden(model, engine),
        "reference.json": to_json(make_reference(model, engine)),
    }
    if core is not None:
        files[CORE] = core
    if portable is not None:
        files[PORTABLE] = portable
    files |= {EXTRA[name].file: content for name, content in extra.items()}
    data = _data_digest(model.table.frame, model.table.labels)
    files |= _papers(model, report, parity, files, data)
    manifest = Manifest(
        format=FORMAT if core is None else FORMAT_WITH_CORE,
        name=model.name,
        version="",
        task=model.table.task,
        classes=model.table.classes,
        family=model.family,
        environment=_environment(model),
        files={name: digest(content) for name, content in sorted(files.items())},
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        measured={
            "microseconds_per_row": microseconds_per_row(
                engine, model, 20 if core is None else 500
            ),
            **parts.measured,
            **{f"{step}_seconds": round(taken, 3) for step, taken in model.seconds.items()},
        },
        lineage={"data": data, **model.table.lineage, **_commit(), **parts.lineage},
    )
    manifest = msgspec.structs.replace(manifest, version=content_version(manifest))
    files[FILE_NAME] = to_json(manifest)

    def opened(bundle: Bundle) -> Bundle:
        if core is None:  # the one that was just proven: no file needs to be trusted for it
            bundle.engine = engine
        return bundle

    checked = gate and (lambda bundle: gate(opened(bundle)))
    return opened(Bundle(write_files(Path(directory), manifest, files, signer, checked)))


def _papers(
    model: TrainedModel,
    report: Report,
    parity: object,
    files: dict[str, bytes],
    data: str,
) -> dict[str, bytes]:
    """What goes with a model: its card, its bill of materials, the environments to the letter."""
    serving, training = installed(SERVING), installed(TRAINING)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    text = card.model_card(
        model.name,
        model.family,
        model.contract,
        msgspec.to_builtins(report),
        msgspec.to_builtins(parity),
        _environment(model),
    )
    return {
        card.FILE_NAME: text.encode(),
        sbom.FILE_NAME: to_json(sbom.sbom(model.name, digests, serving, training, data)),
        "requirements.txt": requirements_text(serving, "What serves this model").encode(),
        "requirements-train.txt": requirements_text(training, "What trained this model").encode(),
    }


def _data_digest(frame: pl.DataFrame, labels: NDArray[np.float64]) -> str:
    """SHA-256 of the table as it was read: typed columns and target, in Arrow's stream format."""
    state = hashlib.sha256()

    class Sink(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, part: Any) -> int:
            state.update(part)
            return len(part)

    with io.BufferedWriter(Sink(), 1 << 20) as sink:
        frame.rechunk().write_ipc_stream(sink, compression="uncompressed")
    state.update(labels.tobytes())
    return state.hexdigest()


def _commit() -> dict[str, str]:
    """The commit of the code in the current folder, when Git knows one and nothing is changed."""
    try:
        command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
        run = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"commit": run.stdout.strip()}


def write_files(
    directory: Path,
    manifest: Manifest,
    files: dict[str, bytes],
    signer: Signer | None = None,
    gate: Callable[[Bundle], object] | None = None,
) -> Path:
    """Write beside the final place, then move: a bundle is there whole or not at all."""
    final = directory / manifest.name / manifest.short_version
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        if final.exists():  # the same content was packaged before
            _whole(final)
            if gate is not None:
                gate(Bundle(final))
            if signer is not None:
                sign_bundle(final, signer)
            return final
        if signer is not None:
            files[SIGNATURE] = sign_contents(manifest, files, signer)
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=final.parent))
        try:
            for name, content in files.items():
                with (draft / name).open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
            if gate is not None:
                gate(Bundle(draft))
            draft.chmod(0o755)
            draft.rename(final)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise OutsideError(
            f"the bundle cannot be written: {error.strerror or error}", where=str(final)
        ) from None
    return final


def _whole(folder: Path) -> None:
    try:
        verify(folder, keep=())
    except (CheckFailed, InputError) as error:
        raise OutsideError(
            f"a damaged bundle is in the way: {error.what}",
            where=str(folder),
            fix="delete this folder and package again",
        ) from None


def _golden(model: TrainedModel, engine: Engine) -> bytes:
    """Rows of the holdout, evenly spread, with the answers that the model must give."""
    held = accepted(model.table.holdout.frame, model.contract)
    chosen = held.gather_every(max(1, held.height // GOLDEN_ROWS)).head(GOLDEN_ROWS)
    lines = []
    for row in json_rows(chosen, model.contract):
        vector, _ = engine.rows.encode(engine.decode(msgspec.json.encode(row)))
        expected = answer(model.contract.target, engine.run_one(vector))
        lines.append({"row": row, "expected": expected})
    return b"".join(msgspec.json.encode(line) + b"\n" for line in lines)


def _environment(model: TrainedModel) -> dict[str, str]:
    versions = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    versions |= model.search.versions
    return {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "roadworthy": importlib.metadata.version("roadworthy"),
        **versions,
    }


def microseconds_per_row(engine: Engine, model: TrainedModel, most: int = 500) -> float:
    """Wall time of one row from JSON bytes to scores: the median over rows of the holdout."""
    held = accepted(model.table.holdout.frame, model.contract)
    rows = json_rows(held.head(most), model.contract)
    bodies = [msgspec.json.encode(row) for row in rows]
    decode, encode = engine.decode, engine.rows.encode
    taken = []
    for body in [*bodies[:50], *bodies]:
        start = time.perf_counter()
        engine.run_one(encode(decode(body))[0])
        taken.append(time.perf_counter() - start)
    return round(sorted(taken[len(bodies[:50]) :])[len(bodies) // 2] * 1e6, 1)
