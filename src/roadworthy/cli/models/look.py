"""`roadworthy models show|verify|sign|diff`: look at bundles, without a model runtime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape

from roadworthy.cli.options import Destination, Json, Model, ProjectFile
from roadworthy.cli.output import print_json
from roadworthy.contract import Contract, Target, describe
from roadworthy.errors import InputError
from roadworthy.project import load_project

if TYPE_CHECKING:
    from roadworthy.registry.comparing import Change, Difference

_SHOWN = 30


def verify(
    model: Model,
    project: ProjectFile = None,
    destination: Destination = None,
    json: Json = False,
) -> None:
    """Recompute every digest of a bundle, and check its signature when keys are trusted.

    Exit code 1 when anything was changed or is not signed by a trusted key.

    Example: `roadworthy models verify bundles/adult/3f2a9c017d55`
    """
    from roadworthy.bundle.manifest import verify as verify_bundle
    from roadworthy.registry import resolve

    wanted = load_project(project, destination)
    trusted = wanted.registry.trusted_keys
    path = resolve(model, wanted)
    manifest, _ = verify_bundle(path, trusted_keys=trusted, keep=())
    files, signed = len(manifest.files), "checked" if trusted else "not checked: no trusted keys"
    if json:
        print_json(
            {
                "verified": True,
                "name": manifest.name,
                "version": manifest.version,
                "files": files,
                "signature": "trusted" if trusted else None,
            }
        )
    else:
        typer.echo(f"verified: {files} files of {manifest.name}:{manifest.version}")
        typer.echo(f"  signature {signed}")


def show(
    model: Model,
    project: ProjectFile = None,
    destination: Destination = None,
    json: Json = False,
) -> None:
    """Show what a bundle is: task, columns, metrics, parity, files.

    Example: `roadworthy models show adult@champion`
    """
    from roadworthy.bundle.manifest import verify as verify_bundle
    from roadworthy.registry import resolve

    wanted = load_project(project, destination)
    path = resolve(model, wanted)
    manifest, contents = verify_bundle(path, trusted_keys=wanted.registry.trusted_keys)
    report = msgspec.json.decode(contents["report.json"])
    if json:
        print_json({"manifest": manifest, "metrics": report["metrics"]})
        return
    console = Console(highlight=False)
    console.print(f"[bold]{escape(manifest.name)}[/] {manifest.version}")
    console.print(f"  {manifest.task}, {manifest.family}, made {manifest.created}")
    for what, found in sorted(manifest.lineage.items()):
        console.print(f"  {escape(what)} {escape(found)}")
    console.print(f"  measured on {report['rows']:,} held-out rows:")
    for name, estimate in report["metrics"].items():
        if estimate["value"] is not None:
            low, high = estimate.get("low"), estimate.get("high")
            interval = f"  [{low:.4g}, {high:.4g}]" if low is not None and high is not None else ""
            console.print(f"    {name}: {estimate['value']:.4g}{escape(interval)}")
    contract = msgspec.json.decode(contents["contract.json"], type=Contract)
    _print_decision(console, contract.target)
    console.print(f"  predicts {escape(contract.target.name)} from:")
    for column in contract.columns:
        console.print(f"    {escape(column.name)}: {describe(column)}")
    parity = msgspec.json.decode(contents["parity.json"])
    console.print("  parity with scikit-learn:")
    for way, found in parity["ways"].items():
        worst = f"{found['largest_difference']:.1g}"
        console.print(f"    {way}: {found['rows']:,} rows, largest difference {worst}")
    for name, entry in sorted(manifest.files.items()):
        console.print(f"  {entry.sha256[:12]}  {entry.size:>10,}  {name}")


def _print_decision(console: Console, target: Target) -> None:
    if target.threshold is not None:
        positive = escape(target.class_names[target.positive_code])
        console.print(
            f"  answers {positive} where its probability is {target.threshold:.4g} or more"
        )
    if target.interval is not None:
        console.print(f"  answers intervals that hold {target.interval.level:.4g} of true values")


def sign(
    bundle: Annotated[str, typer.Argument(help="Folder of a bundle, or of its versions.")],
    key: Annotated[
        str | None,
        typer.Option("--key", help="PEM file, env:NAME or service key; else \\[registry]."),
    ] = None,
    project: ProjectFile = None,
    destination: Destination = None,
    json: Json = False,
) -> None:
    """Sign a bundle's folder; register it again to put the signature into the registry.

    The passphrase of an encrypted key comes from ROADWORTHY_KEY_PASSPHRASE or the file that
    ROADWORTHY_KEY_PASSPHRASE_FILE names.

    Example: `roadworthy models sign bundles/adult/3f2a9c017d55 --key release.key`
    """
    from roadworthy.bundle.keys import fingerprint, open_signer
    from roadworthy.bundle.sign import sign_bundle
    from roadworthy.registry import resolve

    wanted = load_project(project, destination)
    reference = key or wanted.registry.signing_key
    if reference is None:
        raise InputError(
            "no key to sign with is named",
            where="[registry] signing_key",
            fix="--key FILE; roadworthy keys generate NAME makes one",
        )
    signer = open_signer(reference)
    folder = Path(bundle)
    if folder.is_dir():  # of versions, perhaps; what is to be signed need not be trusted yet
        folder = resolve(bundle, wanted.override("registry", trusted_keys=()))
    manifest = sign_bundle(folder, signer)
    named = fingerprint(signer.public_key)
    if json:
        print_json({"name": manifest.name, "version": manifest.version, "key": named})
    else:
        typer.echo(f"signed {manifest.name}:{manifest.short_version} with key {named[:16]}")


def diff(
    before: Annotated[str, typer.Argument(help="Path, name, name:version or name@alias.")],
    after: Annotated[str, typer.Argument(help="The one to compare it with.")],
    project: ProjectFile = None,
    destination: Destination = None,
    json: Json = False,
) -> None:
    """Say what changed from one version to another: contract, metrics, plan, parity, importance.

    Example: `roadworthy models diff adult@champion adult@challenger`
    """
    from roadworthy.bundle.manifest import verify as verify_bundle
    from roadworthy.registry import resolve
    from roadworthy.registry.comparing import COMPARED, compare

    wanted = load_project(project, destination)
    trusted = wanted.registry.trusted_keys
    found = [
        verify_bundle(resolve(each, wanted), trusted_keys=trusted, keep=COMPARED)
        for each in (before, after)
    ]
    difference = compare(found[0], found[1])
    if json:
        print_json(difference)
        return
    _print_difference(difference)


def _print_difference(difference: Difference) -> None:
    console = Console(highlight=False, soft_wrap=True)
    if difference.versions[0] == difference.versions[1]:
        console.print(f"the same version: {difference.versions[0]}")
        return
    console.print(f"from {difference.versions[0][:12]} to {difference.versions[1][:12]}")
    for part in ("contract", "metrics", "plan", "parity", "importance", "environment", "files"):
        changes: tuple[Change, ...] = getattr(difference, part)
        console.print(f"[bold]{part}[/]: {len(changes) or 'nothing'} changed")
        for change in changes[:_SHOWN]:
            line = f"  {change.what}: {_shown(change.before)} → {_shown(change.after)}"
            console.print(escape(line + _step(change)))
        if len(changes) > _SHOWN:
            console.print(f"  … and {len(changes) - _SHOWN} more: --json")


def _shown(value: Any) -> str:
    if value is None:
        return "(none)"
    text = f"{value:.6g}" if isinstance(value, float) else msgspec.json.encode(value).decode()
    text = text.strip('"')
    return text if len(text) <= 60 else text[:57] + "…"


def _step(change: Change) -> str:
    if isinstance(change.before, float) and isinstance(change.after, float):
        return f"  ({change.after - change.before:+.4g})"
    return ""
