"""What a release of a fleet is: an archive, a scale set and how it grows."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from roadworthy.deploy.azure.fleet.gateway import gateway_of, pool_of
from roadworthy.deploy.azure.fleet.wanted import (
    CONTAINER,
    GATEWAY,
    IDENTITY,
    READS,
    identity_of,
    store_of,
)
from roadworthy.deploy.azure.resource import Naming, Resource
from roadworthy.deploy.azure.wanted import (
    ALARM,
    FIREWALL,
    NETWORK,
    alarm_documents,
    alerts,
    image_of,
    machine_of,
    part,
    security_of,
)
from roadworthy.deploy.cloud.fleet_base import PORT, FleetRelease, boot_steps, console_step
from roadworthy.deploy.cloud.keys import public_key
from roadworthy.deploy.cloud.prices import price_of
from roadworthy.deploy.cloud_init import archive, user_data
from roadworthy.deploy.host.layout import Layout
from roadworthy.deploy.wanted import Wanted, in_file
from roadworthy.monitor.alarms import Place
from roadworthy.monitor.alarms.azure import SETS
from roadworthy.project import AzureSection, Instances, Project

SCALING = "Microsoft.Insights/autoscaleSettings"


def make(naming: Naming, section: AzureSection, project: Project, wanted: Wanted, cache: Path,
         folder: Path) -> FleetRelease[Resource]:  # fmt: skip
    """Everything that a release of a fleet is.

    Args:
        naming: Names and tags.
        section: `[deploy.NAME]`.
        project: For `[serve]` and `[monitor]`.
        wanted: What is to be served.
        cache: Where wheels are kept.
        folder: Where the archive is written.

    Raises:
        OutsideError: The wheels cannot be had.
    """
    layout, machine = Layout(naming.deployment), machine_of(section.size)
    beside = [console_step(layout)]
    steps = boot_steps(layout, machine, section, project, wanted, cache, beside)
    release = archive(steps, folder)
    content = in_file(release)
    made_of = [content.sha256, section.size, section.zones, _machine(naming, section, "", b"")]
    seed = msgspec.json.encode(made_of, order="sorted")
    name = f"{wanted.release.id}-{hashlib.sha256(seed).hexdigest()[:6]}"
    key = f"{name}/{content.sha256}.tar"
    program = resources.files(__package__).joinpath("fetching.py").read_text("utf-8")
    whom = identity_of(naming, "machines")
    fetch = f"python3 - \"$1\" \"$2\" '{whom}' <<'END'\n{program}END\n"
    host = store_of(naming).rpartition("/")[2]
    address = f"https://{host}.blob.core.windows.net/{CONTAINER}/{key}"
    told = user_data(layout, content, address, fetch)
    parts = (
        _machines(naming, section, name, told), _scaling(naming, section, name),
        *machine_alarms(naming, section, project, name),
    )  # fmt: skip
    return FleetRelease(id=name, archive=release, key=key, parts=parts)


def name_of(naming: Naming, release: str) -> str:
    """The name of what only a release has."""
    return f"rw-{release}"


def release_of(part_id: str) -> str:
    """The release that a part is of; empty: of none."""
    found = re.fullmatch(rf"(?:azure-machines|azure-scaling|{ALARM}[a-z_]+)-(.+)", part_id)
    return found[1] if found else ""


def set_of(naming: Naming, release: str) -> str:
    """Path of a release's scale set."""
    return naming.path(SETS, name_of(naming, release))


def scaling_of(naming: Naming, release: str) -> str:
    """Path of how it grows."""
    return naming.path(SCALING, name_of(naming, release))


def nobodys_key() -> str:
    """A public key whose private half nobody has: Azure wants one, and nobody is to log in."""
    kind = b"ssh-ed25519"
    point = hashlib.sha256(b"roadworthy: nobody logs in to the machines of a fleet").digest()
    blob = b"".join(len(each).to_bytes(4, "big") + each for each in (kind, point))
    return f"ssh-ed25519 {base64.b64encode(blob).decode()} nobody"


def _machine(naming: Naming, section: AzureSection, release: str, told: bytes) -> dict[str, Any]:
    """What the machines are made of."""
    network = naming.path("Microsoft.Network/virtualNetworks", naming.name)
    key = public_key(section.identity) if section.identity else nobodys_key()
    place = {
        "primary": True,
        "networkSecurityGroup": {
            "id": naming.path("Microsoft.Network/networkSecurityGroups", naming.name)
        },
        "ipConfigurations": [{"name": "inside", "properties": {
            "subnet": {"id": f"{network}/subnets/machines"},
            "applicationGatewayBackendAddressPools": [
                {"id": f"{gateway_of(naming)}/backendAddressPools/{pool_of(release)}"}
            ],
        }}],
    }  # fmt: skip
    ready = {
        "publisher": "Microsoft.ManagedServices", "type": "ApplicationHealthLinux",
        "typeHandlerVersion": "1.0", "autoUpgradeMinorVersion": True,
        "settings": {"protocol": "http", "port": PORT, "requestPath": "/readyz"},
    }  # fmt: skip
    return {
        "storageProfile": {
            "imageReference": image_of(section),
            "osDisk": {
                "createOption": "FromImage", "diskSizeGB": section.disk_gb,
                "managedDisk": {"storageAccountType": "StandardSSD_LRS"},
            },
        },
        "osProfile": {
            "computerNamePrefix": "roadworthy", "adminUsername": section.user,
            "linuxConfiguration": {
                "disablePasswordAuthentication": True,
                "ssh": {"publicKeys": [
                    {"path": f"/home/{section.user}/.ssh/authorized_keys", "keyData": key}
                ]},
            },
            "customData": base64.b64encode(told).decode(),
        },
        "networkProfile": {
            "networkInterfaceConfigurations": [{"name": "inside", "properties": place}]
        },
        "diagnosticsProfile": {"bootDiagnostics": {"enabled": True}},
        "extensionProfile": {"extensions": [{"name": "ready", "properties": ready}]},
        **security_of(section),
    }  # fmt: skip


def _machines(naming: Naming, section: AzureSection, release: str, told: bytes) -> Resource:
    size = section.instances or Instances()
    body: dict[str, Any] = {
        "location": section.region,
        "sku": {"name": section.size, "tier": "Standard", "capacity": size.min},
        "identity": {
            "type": "UserAssigned",
            "userAssignedIdentities": {identity_of(naming, "machines"): {}},
        },
        "properties": {
            "orchestrationMode": "Uniform",
            "overprovision": False,
            "singlePlacementGroup": False,
            "upgradePolicy": {"mode": "Manual"},
            # a machine that has answered and does no more is replaced
            "automaticRepairsPolicy": {"enabled": True, "gracePeriod": "PT30M"},
            "virtualMachineProfile": _machine(naming, section, release, told),
        },
    }
    if section.zones:
        body["zones"] = list(section.zones)
        body["properties"]["zoneBalance"] = False
    price = price_of("azure", section.region, section.size, section.disk_gb, count=size.min)
    made = part(
        naming, f"azure-machines-{release}", SETS,
        f"{size.min} machines and more for {release}: {section.size}, {section.disk_gb} GB",
        body, NETWORK, FIREWALL, IDENTITY, READS, GATEWAY, "place", "upload",
        called=name_of(naming, release),
    )  # fmt: skip
    return msgspec.structs.replace(made, price=price)


def _scaling(naming: Naming, section: AzureSection, release: str) -> Resource:
    size, target = section.instances or Instances(), set_of(naming, release)

    def rule(sign: str, threshold: float, way: str) -> dict[str, Any]:
        return {
            "metricTrigger": {
                "metricName": "Percentage CPU", "metricResourceUri": target,
                "timeGrain": "PT1M", "statistic": "Average", "timeWindow": "PT5M",
                "timeAggregation": "Average", "operator": sign, "threshold": threshold,
            },
            "scaleAction": {
                "direction": way, "type": "ChangeCount", "value": "1", "cooldown": "PT5M",
            },
        }  # fmt: skip

    bounds = {"minimum": str(size.min), "maximum": str(size.max), "default": str(size.min)}
    rules = [
        rule("GreaterThan", float(size.cpu), "Increase"),
        rule("LessThan", size.cpu / 2, "Decrease"),
    ]
    body = {
        "location": section.region,
        "properties": {
            "enabled": True, "targetResourceUri": target,
            "profiles": [{"name": "busy", "capacity": bounds, "rules": rules}],
        },
    }  # fmt: skip
    what = f"{size.min} to {size.max} machines, as busy as {size.cpu}%"
    return part(
        naming, f"azure-scaling-{release}", SCALING, what, body, f"azure-machines-{release}",
        called=name_of(naming, release),
    )  # fmt: skip


def machine_alarms(naming: Naming, section: AzureSection, project: Project, release: str
                   ) -> tuple[Resource, ...]:  # fmt: skip
    """Those of `[monitor]` whose metrics a scale set has without an agent, of each machine.

    Args:
        naming: Names and tags.
        section: `[deploy.NAME]`.
        project: For `[monitor]`.
        release: The release whose machines they are.
    """
    if not section.alarms:
        return ()
    on = alarm_documents(project, Place(model=naming.model, fleet=naming.deployment))
    return alerts(naming, on, set_of(naming, release), f"azure-machines-{release}", release)
