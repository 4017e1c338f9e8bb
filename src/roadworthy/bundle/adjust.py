"""A bundle that answers otherwise: the same model, and papers that say what it answers now."""

from __future__ import annotations

import datetime
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from roadworthy.bundle import card, sbom
from roadworthy.bundle.answers import answer
from roadworthy.bundle.bundle import Bundle
from roadworthy.bundle.keys import open_signer
from roadworthy.bundle.manifest import FILE_NAME, SIGNATURE, content_version, digest, to_json
from roadworthy.bundle.requirements import SERVING, TRAINING, installed
from roadworthy.bundle.write import write_files
from roadworthy.contract import Contract
from roadworthy.errors import InputError
from roadworthy.evaluate import Report
from roadworthy.evaluate.page import render_page
from roadworthy.evaluate.verdict import verdict_of


def with_threshold(
    bundle: Bundle,
    threshold: float,
    report: Report | None,
    *,
    directory: str | os.PathLike[str],
    signing_key: str | None = None,
) -> Bundle:
    """Make a bundle that answers the positive class from another probability.

    Core, plan, parity and reference stay as they are; contract, golden answers, card, bill of
    materials and report are made anew.

    Args:
        bundle: The bundle of a model of two classes.
        threshold: Between 0 and 1.
        report: What it does with the threshold, measured on labelled rows; None keeps the old one,
            which says what it did before.
        directory: The bundle becomes `directory/NAME/VERSION`.
        signing_key: The key that signs it.

    Raises:
        InputError: The model has not two classes, or the threshold is none.
        OutsideError: The folder cannot be written.
    """
    target = bundle.contract.target
    if target.task != "binary" or not 0 < threshold < 1:
        raise InputError(
            f"the threshold {threshold:g} cannot be set",
            where=bundle.manifest.name,
            fix="two classes, and a number between 0 and 1",
        )
    target = msgspec.structs.replace(target, threshold=threshold)
    contract = msgspec.structs.replace(bundle.contract, target=target)
    golden = []
    for entry in bundle.golden:
        shares = entry.expected["probabilities"]
        scores = [shares[name] for name in target.class_names]
        golden.append({"row": entry.row, "expected": answer(target, scores)})
    changed = {
        "contract.json": to_json(contract),
        "golden.jsonl": b"".join(msgspec.json.encode(line) + b"\n" for line in golden),
    }
    return rewrite(bundle, contract, changed, report, directory=directory, signing_key=signing_key)


def rewrite(
    bundle: Bundle,
    contract: Contract,
    changed: Mapping[str, bytes],
    report: Report | None,
    *,
    directory: str | os.PathLike[str],
    signing_key: str | None = None,
    lineage: Mapping[str, str] = {},
    measured: Mapping[str, float] = {},
) -> Bundle:
    """Write a bundle again with some of its files changed, and papers that fit them.

    Files for others that are not among the changed ones (`portable.onnx`, `model.*`) are left out.

    Args:
        bundle: The bundle as it was.
        contract: Its contract now.
        changed: Files that are other than they were, the papers and the report excepted.
        report: What it does now; None keeps the old one.
        directory: The bundle becomes `directory/NAME/VERSION`.
        signing_key: The key that signs it.
        lineage: What is new in where it comes from.
        measured: What is new in its measured numbers.

    Raises:
        OutsideError: The folder cannot be written.
    """
    files = bundle.contents() | dict(changed)
    for name in (FILE_NAME, SIGNATURE):
        files.pop(name, None)
    if report is not None:
        files["report.json"] = to_json(report)
        files["report.html"] = render_page(verdict_of(report)).encode()
    old = bundle.manifest
    plain: dict[str, Any] = msgspec.json.decode(files["report.json"])
    parity: dict[str, Any] = msgspec.json.decode(files["parity.json"])
    text = card.model_card(old.name, old.family, contract, plain, parity, old.environment)
    files[card.FILE_NAME] = text.encode()
    listed = (sbom.FILE_NAME, "requirements.txt", "requirements-train.txt", card.FILE_NAME)
    digests = {
        name: hashlib.sha256(content).hexdigest()
        for name, content in files.items()
        if name not in listed
    }
    packages = installed(SERVING), installed(TRAINING)
    data = old.lineage.get("data")
    files[sbom.FILE_NAME] = to_json(sbom.sbom(old.name, digests, *packages, data))
    manifest = msgspec.structs.replace(
        old,
        files={name: digest(content) for name, content in sorted(files.items())},
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        measured={**old.measured, **measured},
        lineage={**old.lineage, **lineage},
    )
    manifest = msgspec.structs.replace(manifest, version=content_version(manifest))
    files[FILE_NAME] = to_json(manifest)
    signer = open_signer(signing_key) if signing_key else None
    return Bundle(write_files(Path(directory), manifest, files, signer))
