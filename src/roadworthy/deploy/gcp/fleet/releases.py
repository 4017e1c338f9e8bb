"""What a release of a fleet is: an archive, and a template, a group and its autoscaler."""

from __future__ import annotations

import hashlib
import re
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from roadworthy.deploy.cloud.fleet_base import GRACE, PORT, FleetRelease, boot_steps, console_step
from roadworthy.deploy.cloud.prices import price_of, together
from roadworthy.deploy.cloud_init import archive, bootstrap
from roadworthy.deploy.gcp.fleet.wanted import (
    ACCOUNT,
    FIREWALL,
    HEALTH,
    SUBNET,
    account_of,
    bucket_of,
    global_path,
    part,
    subnet_path,
)
from roadworthy.deploy.gcp.resource import Naming, Resource
from roadworthy.deploy.gcp.wanted import machine_of, short
from roadworthy.deploy.host.layout import Layout
from roadworthy.deploy.wanted import Wanted, in_file
from roadworthy.monitor.alarms.google import FLEET
from roadworthy.project import GcpSection, Instances, Project

_SCOPE = "https://www.googleapis.com/auth/devstorage.read_only"


def make(naming: Naming, section: GcpSection, project: Project, wanted: Wanted, cache: Path,
         folder: Path) -> FleetRelease[Resource]:  # fmt: skip
    """Everything that a release of a fleet is.

    Args:
        naming: Names and marks.
        section: `[deploy.NAME]`.
        project: For `[serve]`.
        wanted: What is to be served.
        cache: Where wheels are kept.
        folder: Where the archive is written.

    Raises:
        OutsideError: The wheels cannot be had.
    """
    layout, machine = Layout(naming.deployment), machine_of(section.machine_type)
    beside = [console_step(layout)]
    steps = boot_steps(layout, machine, section, project, wanted, cache, beside)
    release = archive(steps, folder)
    content = in_file(release)
    seed = msgspec.json.encode([content.sha256, _machine(naming, section, "")], order="sorted")
    name = f"{wanted.release.id}-{hashlib.sha256(seed).hexdigest()[:6]}"
    key = f"releases/{name}/{content.sha256}.tar"
    program = resources.files(__package__).joinpath("fetching.py").read_text("utf-8")
    fetch = f'python3 - "$1" "$2" <<\'END\'\n{program}END\n'
    address = f"gs://{bucket_of(naming)}/{key}"
    made = _machine(naming, section, bootstrap(layout, content, address, fetch))
    parts = (
        _template(naming, section, name, made),
        _group(naming, section, name),
        _scaling(naming, section, name),
    )
    return FleetRelease(id=name, archive=release, key=key, parts=parts)


def name_of(naming: Naming, release: str) -> str:
    """The name of what only a release has."""
    return f"{short(naming)}-{release}"


def release_of(part: str) -> str:
    """The release that a part is of; empty: of none."""
    found = re.fullmatch(r"gcp-(?:template|group|scaling|archive)-(.+)", part)
    return found[1] if found else ""


def object_marks(naming: Naming, release: str) -> dict[str, str]:
    """The marks of an archive."""
    return naming.labels(f"gcp-archive-{release}")


def _machine(naming: Naming, section: GcpSection, text: str) -> dict[str, Any]:
    """What the machines are made of."""
    arm = machine_of(section.machine_type) == "aarch64"
    family = f"projects/debian-cloud/global/images/family/debian-12{'-arm64' if arm else ''}"
    told = {
        # Google's images of Debian have no cloud-init; this runs at every boot, and does it once
        "startup-script": text, "enable-oslogin": "TRUE", "block-project-ssh-keys": "TRUE",
        "serial-port-enable": "FALSE",
    }  # fmt: skip
    made: dict[str, Any] = {
        "machineType": section.machine_type,
        "labels": {FLEET: naming.deployment},
        "tags": {"items": [naming.name]},
        "disks": [
            {
                "boot": True,
                "autoDelete": True,
                "initializeParams": {
                    "sourceImage": section.image or family,
                    "diskSizeGb": str(section.disk_gb),
                    "diskType": "pd-balanced",
                    "labels": {FLEET: naming.deployment},
                },
            }
        ],
        # packages come from outside; the firewall lets nobody in but the balancer
        "networkInterfaces": [
            {
                "subnetwork": subnet_path(naming, section),
                "accessConfigs": [{"name": "out", "type": "ONE_TO_ONE_NAT"}],
            }
        ],
        "metadata": {"items": [{"key": key, "value": each} for key, each in told.items()]},
        "serviceAccounts": [{"email": account_of(naming), "scopes": [_SCOPE]}],
    }
    if not arm and section.image is None:
        made["shieldedInstanceConfig"] = {
            "enableSecureBoot": True, "enableVtpm": True, "enableIntegrityMonitoring": True,
        }  # fmt: skip
    return made


def _template(naming: Naming, section: GcpSection, release: str, made: dict[str, Any]) -> Resource:
    body = {"name": name_of(naming, release), "properties": made}
    what = f"a template of machines: {section.machine_type}, {section.disk_gb} GB"
    needs = (FIREWALL, ACCOUNT, *(() if section.subnet else (SUBNET,)))
    return part(naming, f"gcp-template-{release}", what, "instanceTemplates", body, *needs)


def _group(naming: Naming, section: GcpSection, release: str) -> Resource:
    name, size = name_of(naming, release), section.instances or Instances()
    health = global_path(naming, "healthChecks")
    body = {
        "name": name, "baseInstanceName": name[:58], "targetSize": size.min,
        "instanceTemplate": global_path(naming, "instanceTemplates", name),
        "namedPorts": [{"name": "http", "port": PORT}],
        "autoHealingPolicies": [{"healthCheck": health, "initialDelaySec": GRACE}],
    }  # fmt: skip
    made = part(
        naming, f"gcp-group-{release}", f"{size.min} machines and more for {release}",
        "regionInstanceGroupManagers", body, f"gcp-template-{release}", HEALTH, "upload",
        region=section.region,
    )  # fmt: skip
    price = together(
        price_of("gcp", section.region, section.machine_type, section.disk_gb, count=size.min),
        price_of("gcp", section.region, "address", count=size.min),
    )
    return msgspec.structs.replace(made, price=price)


def scaling(size: Instances, *, on: bool) -> dict[str, Any]:
    """How a group grows and shrinks; one that rests does neither."""
    return {
        "mode": "ON" if on else "OFF",
        "minNumReplicas": size.min,
        "maxNumReplicas": size.max,
        "coolDownPeriodSec": 300,
        "cpuUtilization": {"utilizationTarget": size.cpu / 100},
    }


def _scaling(naming: Naming, section: GcpSection, release: str) -> Resource:
    name, size = name_of(naming, release), section.instances or Instances()
    region = f"projects/{naming.project}/regions/{section.region}"
    body = {
        "name": name, "target": f"{region}/instanceGroupManagers/{name}",
        "autoscalingPolicy": scaling(size, on=True),
    }  # fmt: skip
    what = f"{size.min} to {size.max} machines, as busy as {size.cpu}%"
    return part(
        naming, f"gcp-scaling-{release}", what, "regionAutoscalers", body,
        f"gcp-group-{release}", region=section.region,
    )  # fmt: skip
