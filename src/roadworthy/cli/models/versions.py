"""`roadworthy models list|register|promote|rollback|tag|history|gc`: the registry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from roadworthy.cli.options import Destination, Json, ProjectFile
from roadworthy.cli.output import print_json
from roadworthy.errors import InputError
from roadworthy.project import load_project
from roadworthy.registry import parse_reference

if TYPE_CHECKING:
    from roadworthy.registry.ledger import Entry
    from roadworthy.registry.registry import Version

Ref = Annotated[str, typer.Argument(help="name, name:version or name@alias.")]
Name = Annotated[str, typer.Argument(help="The model's name.")]
Alias = Annotated[str, typer.Option("--alias", help="champion, challenger or one of your own.")]
Verdict = Annotated[str, typer.Option("--verdict", help="What the gates said; for the ledger.")]


def list_versions(
    name: Annotated[str | None, typer.Argument(help="One model; else all.")] = None,
    project: ProjectFile = None,
    destination: Destination = None,
    json: Json = False,
) -> None:
    """List the versions in the registry, the newest first.

    Example: `roadworthy models list adult`
    """
    from roadworthy.registry.opening import open_registry

    with open_registry(load_project(project, destination), create=False) as registry:
        found = registry.versions(name)
    if json:
        print_json({"versions": found})
        return
    if not found:
        typer.echo("nothing is registered" + (f" under {name!r}" if name else ""))
        return
    _print_versions(found)


def register(
    bundle: Annotated[str, typer.Argument(help="Folder of a bundle, or its .rwb file.")],
    tags: Annotated[
        list[str] | None, typer.Option("--tag", help="name or name=value; may be repeated.")
    ] = None,
    alias: Annotated[str | None, typer.Option("--alias", help="Promote it at once.")] = None,
    parent: Annotated[
        str | None, typer.Option("--parent", help="The version it follows; else the champion.")
    ] = None,
    verdict: Verdict = "",
    project: ProjectFile = None,
    destination: Destination = None,
    json: Json = False,
) -> None:
    """Put a bundle into the registry; putting it there twice changes nothing.

    Example: `roadworthy models register bundles/adult/3f2a9c017d55 --alias challenger`
    """
    from roadworthy.registry.opening import open_registry
    from roadworthy.registry.references import Reference, check_alias
    from roadworthy.registry.registering import parse_tags
    from roadworthy.registry.registering import register as put

    if alias is not None:
        check_alias(alias)
    with open_registry(load_project(project, destination)) as registry:
        found, fresh = put(
            registry,
            Path(bundle),
            tags=parse_tags(tags or []),
            parent=parse_reference(parent) if parent else None,
            verdict=verdict,
        )
        if alias is not None:
            found = registry.promote(Reference(found.model, found.version), alias, verdict)
    if json:
        print_json({"version": found, "new": fresh})
    else:
        typer.echo(f"{found.short} {'registered' if fresh else 'was registered already'}")


def promote(
    model: Ref,
    alias: Alias = "champion",
    remove: Annotated[bool, typer.Option("--remove", help="Take the alias away.")] = False,
    verdict: Verdict = "",
    project: ProjectFile = None,
    destination: Destination = None,
    json: Json = False,
) -> None:
    """Let an alias stand for a version.

    Example: `roadworthy models promote adult:3f2a9c01 --alias champion`
    """
    from roadworthy.registry.opening import open_registry

    reference = parse_reference(model)
    with open_registry(load_project(project, destination), create=False) as registry:
        if remove:
            found = registry.remove_alias(reference.name, alias)
        else:
            found = registry.promote(reference, alias, verdict)
    if json:
        print_json({"version": found, "alias": alias, "removed": remove})
    else:
        typer.echo(f"{found.short} is {'no longer ' if remove else ''}{found.model}@{alias}")


def rollback(
    name: Name,
    alias: Alias = "champion",
    project: ProjectFile = None,
    destination: Destination = None,
    json: Json = False,
) -> None:
    """Let an alias stand for the version it stood for before.

    Example: `roadworthy models rollback adult`
    """
    from roadworthy.registry.opening import open_registry

    with open_registry(load_project(project, destination), create=False) as registry:
        old, new = registry.roll_back(parse_reference(name).name, alias)
    if json:
        print_json({"from": old.version, "to": new.version, "alias": alias})
    else:
        typer.echo(f"{new.model}@{alias} is {new.short} again, no longer {old.short}")


def tag(
    model: Ref,
    tags: Annotated[list[str] | None, typer.Argument(help="name or name=value.")] = None,
    remove: Annotated[
        list[str] | None, typer.Option("--remove", help="A tag to take away.")
    ] = None,
    project: ProjectFile = None,
    destination: Destination = None,
    json: Json = False,
) -> None:
    """Tag a version; a tagged version is never collected.

    Example: `roadworthy models tag adult:3f2a9c01 audited=2026-05-01`
    """
    from roadworthy.registry.opening import open_registry
    from roadworthy.registry.registering import parse_tags

    if not tags and not remove:
        raise InputError("no tag is named", fix="roadworthy models tag MODEL NAME=VALUE")
    with open_registry(load_project(project, destination), create=False) as registry:
        found = registry.tag(parse_reference(model), parse_tags(tags or []), remove or [])
    if json:
        print_json({"version": found})
    else:
        typer.echo(f"{found.short}: {_tags(found) or 'no tags'}")


def history(
    name: Annotated[str | None, typer.Argument(help="One model; else all.")] = None,
    at: Annotated[
        str | None, typer.Option("--at", help="What every alias stood for then: 2026-05-01.")
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Recompute the hash chain.")] = False,
    head: Annotated[
        str | None, typer.Option("--head", help="NUMBER:DIGEST that was written down elsewhere.")
    ] = None,
    project: ProjectFile = None,
    destination: Destination = None,
    json: Json = False,
) -> None:
    """Say who put which version where, when, with which verdict.

    Example: `roadworthy models history adult --at 2026-05-01`
    """
    from roadworthy.registry.ledger import aliases_at, parse_moment
    from roadworthy.registry.opening import open_registry

    moment = parse_moment(at) if at is not None else None
    known = _parse_head(head) if head else None
    with open_registry(load_project(project, destination), create=False) as registry:
        entries = registry.check_history(known) if verify or known else registry.history()
    last = entries[-1] if entries else None
    chosen = [each for each in entries if name in (None, each.model)]
    if moment is not None:
        _print_aliases(aliases_at(chosen, moment), moment, json)
    elif json:
        end = {"number": last.number, "digest": last.digest} if last else None
        print_json({"entries": chosen, "head": end, "verified": bool(verify or known)})
    else:
        _print_entries(chosen)
        if verify or known:
            typer.echo(f"verified: {len(entries)} entries, nothing was changed")
        if last:
            typer.echo(f"head {last.number}:{last.digest}")


def gc(
    keep: Annotated[
        int | None,
        typer.Option("--keep", min=1, help="Versions to keep of each model; else all."),
    ] = None,
    grace: Annotated[
        float, typer.Option("--grace", min=0, help="Hours; what is younger is left alone.")
    ] = 24.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    project: ProjectFile = None,
    destination: Destination = None,
    json: Json = False,
) -> None:
    """Take away what no alias, tag, deployment or running transfer holds.

    Example: `roadworthy models gc --keep 10 --dry-run`
    """
    from roadworthy.registry.collecting import collect
    from roadworthy.registry.opening import open_registry

    with open_registry(load_project(project, destination), create=False) as registry:
        found = collect(registry, keep=keep, grace_hours=grace, dry=dry_run)
    if json:
        print_json({"collected": found, "dry_run": dry_run})
        return
    for version in found.versions:
        typer.echo(version)
    would = "would be " if dry_run else ""
    typer.echo(
        f"{len(found.versions)} versions and {found.blobs} blobs ({found.size:,} bytes) "
        f"{would}taken away"
    )


def _parse_head(text: str) -> tuple[int, str]:
    number, _, digest = text.partition(":")
    if not number.isdigit() or len(digest) != 64:
        raise InputError("--head is not a head", fix="write NUMBER:DIGEST as history printed it")
    return int(number), digest


def _print_versions(found: list[Version]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in ("model", "version", "aliases", "registered", "family", "size", "signed", "tags"):
        side: Literal["left", "right"] = "right" if header == "size" else "left"
        table.add_column(header, justify=side, no_wrap=header in ("model", "version", "registered"))
    for each in found:
        table.add_row(
            escape(each.model),
            each.version[:12],
            " ".join(each.aliases),
            each.registered[:16].replace("T", " "),
            each.family,
            f"{each.size:,}",
            each.signer[:12] if each.signer else "no",
            escape(_tags(each)),
        )
    Console(highlight=False).print(table)


def _print_entries(entries: list[Entry]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in ("", "when", "who", "what", "version", "where", "verdict"):
        table.add_column(header, no_wrap=header in ("", "when", "version"), overflow="fold")
    for each in entries:
        table.add_row(
            str(each.number),
            each.at[:19].replace("T", " "),
            escape(each.who),
            each.action,
            escape(f"{each.model}:{each.version[:12]}"),
            escape(each.place),
            escape(each.verdict),
        )
    Console(highlight=False).print(table)


def _print_aliases(found: dict[tuple[str, str], str], moment: str, json: bool) -> None:
    if json:
        rows = [{"model": m, "alias": a, "version": v} for (m, a), v in sorted(found.items())]
        print_json({"at": moment, "aliases": rows})
        return
    if not found:
        typer.echo(f"no alias stood for anything at {moment[:19]} UTC")
    for (model, alias), version in sorted(found.items()):
        typer.echo(f"{model}@{alias} was {model}:{version[:12]} at {moment[:19]} UTC")


def _tags(version: Version) -> str:
    return " ".join(f"{k}={v}" if v else k for k, v in version.tags.items())
