"""The steps of a fleet that are no parts of it: upload, and the swap."""

from __future__ import annotations

from typing import Any

from roadworthy.deploy.aws.fleet.releases import TRIAL, FleetRelease, group_of
from roadworthy.deploy.aws.fleet.wanted import BUCKET, LISTENER
from roadworthy.deploy.plan import Step
from roadworthy.project import AwsSection, Instances

SWAP = ("healthy", "accept", "switch")
"""What is done once a release serves."""


def own_steps(release: FleetRelease, section: AwsSection) -> list[Step]:
    """The steps that are no parts, in order.

    Args:
        release: What is to serve.
        section: `[deploy.NAME]`.
    """
    size = release.archive.size
    uploaded = {"bucket": f"${{{BUCKET}}}", "key": release.key, "size": size}
    ready = ["upload"]
    steps = [_step("upload", f"upload the release, {size:,} bytes, by its SHA-256", uploaded,
                   (BUCKET,))]  # fmt: skip
    if release.secret:
        ready.append("secret")
        steps.append(_step("secret", "keep the secrets of the release in Secrets Manager",
                           {"name": release.secret}, ()))  # fmt: skip
    return [*steps, *swap_steps(release.id, section, (group_of(release.id), *ready))]


def swap_steps(release: str, section: AwsSection, needs: tuple[str, ...]) -> list[Step]:
    """From the first healthy machine to the last that is taken away.

    Args:
        release: What is to serve.
        section: `[deploy.NAME]`.
        needs: What its machines need.
    """
    low = (section.instances or Instances()).min
    about = {"release": release}
    return [
        _step("healthy", f"wait until {low} machines of {release} are healthy", about,
              needs),
        _step("accept", "golden rows, gates and behaviour against it, before callers get it",
              about, ("healthy", TRIAL)),
        _step("switch", f"let callers reach {release}; the one before finishes what it has",
              about, ("accept", LISTENER)),
        _step("drain", "end the machines of the release before", about, ("switch",)),
        _step("clean", f"keep {section.keep} releases, remove what none of them uses",
              about, ("drain",)),
    ]  # fmt: skip


def start_step(release: str) -> Step:
    """Bring back the machines of a release that is kept."""
    return _step("start", f"start the machines of {release}", {"release": release}, ())


def _step(name: str, what: str, document: dict[str, Any], needs: tuple[str, ...]) -> Step:
    return Step(id=name, what=what, change="create", document=document, needs=needs)
