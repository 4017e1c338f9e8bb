"""What a section asks of Azure: every part, from the resource group to the alarms."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from roadworthy.deploy.azure.ci import ci_resources
from roadworthy.deploy.azure.dashboard import dashboard
from roadworthy.deploy.azure.registry import registry_parts
from roadworthy.deploy.azure.resource import Naming, Resource
from roadworthy.deploy.cloud.keys import public_key
from roadworthy.deploy.cloud.prices import price_of
from roadworthy.monitor.alarms import TARGETS, Alarm, Place, alarm_list
from roadworthy.project import AzureSection, Project

GROUP, NETWORK, FIREWALL = "azure-group", "azure-network", "azure-firewall"
ADDRESS, INTERFACE, MACHINE = "azure-address", "azure-interface", "azure-machine"
NOTICES, ALARM = "azure-notices", "azure-alarm-"
_BLOCK, _SUBNET_BLOCK = "10.83.0.0/16", "10.83.0.0/24"
_ARM_SIZE = re.compile(r"Standard_[A-Z]+\d+(-\d+)?[a-z]*p[a-z]*(_|$)")


def machine_of(size: str) -> str:
    """`aarch64` for sizes of Ampere and Cobalt processors, by Azure's way of naming sizes."""
    return "aarch64" if _ARM_SIZE.match(size) else "x86_64"


def resources(naming: Naming, section: AzureSection, project: Project) -> tuple[Resource, ...]:
    """Every part, in the order in which they are made."""
    network = () if section.subnet else (_network(naming, section),)
    return (
        _group(naming, section),
        *network,
        _firewall(naming, section),
        _address(naming, section),
        _interface(naming, section),
        _machine(naming, section),
        *(_alarms(naming, section, project) if section.alarms else ()),
        *ci_resources(naming, section, GROUP),
        *registry_parts(naming, section, GROUP, NETWORK),
    )


def _group(naming: Naming, section: AzureSection) -> Resource:
    return Resource(
        id=GROUP, what=f"a resource group, {naming.name}", path=naming.group,
        kind="Microsoft.Resources/resourceGroups",
        body={"location": section.region, "tags": naming.tags(GROUP)},
    )  # fmt: skip


def part(
    naming: Naming, name: str, kind: str, what: str, body: dict[str, Any], *needs: str,
    called: str = "",
) -> Resource:  # fmt: skip
    """A part in the group."""
    return Resource(
        id=name, what=what, path=naming.path(kind, called or naming.name), kind=kind,
        body={**body, "tags": naming.tags(name)}, needs=(GROUP, *needs),
    )  # fmt: skip


def _network(naming: Naming, section: AzureSection) -> Resource:
    body = {
        "location": section.region,
        "properties": {
            "addressSpace": {"addressPrefixes": [_BLOCK]},
            "subnets": [{"name": "machines", "properties": {"addressPrefix": _SUBNET_BLOCK}}],
        },
    }
    what = f"a network, {_BLOCK}, with a subnet, {_SUBNET_BLOCK}"
    return part(naming, NETWORK, "Microsoft.Network/virtualNetworks", what, body)


def rules(section: AzureSection) -> list[dict[str, Any]]:
    """The rules of the firewall: who may reach SSH and the public ports; Azure closes the rest."""
    ports = sorted({section.public_port, *([80] if section.domain else [])})
    allowed = [("ssh", 22, section.ssh_from)]
    allowed += [(f"port-{port}", port, section.allow_from) for port in ports]
    single = [
        (f"{name}-{number}", port, network)
        for name, port, networks in allowed
        for number, network in enumerate(dict.fromkeys(networks), 1)
    ]
    return [
        {
            "name": name,
            "properties": {
                "priority": 100 + number,
                "direction": "Inbound",
                "access": "Allow",
                "protocol": "Tcp",
                "sourceAddressPrefix": network,
                "sourcePortRange": "*",
                "destinationAddressPrefix": "*",
                "destinationPortRange": str(port),
            },
        }
        for number, (name, port, network) in enumerate(single)
    ]


def _firewall(naming: Naming, section: AzureSection) -> Resource:
    body = {"location": section.region, "properties": {"securityRules": rules(section)}}
    what = (
        f"a network security group: SSH from {', '.join(section.ssh_from)}, port "
        f"{section.public_port} from {', '.join(section.allow_from)}"
    )
    return part(naming, FIREWALL, "Microsoft.Network/networkSecurityGroups", what, body)


def _address(naming: Naming, section: AzureSection) -> Resource:
    body = {
        "location": section.region,
        "sku": {"name": "Standard"},
        "properties": {"publicIPAllocationMethod": "Static", "publicIPAddressVersion": "IPv4"},
    }
    made = part(
        naming, ADDRESS, "Microsoft.Network/publicIPAddresses", "a fixed public address", body
    )
    return msgspec.structs.replace(made, price=price_of("azure", section.region, "address"))


def _interface(naming: Naming, section: AzureSection) -> Resource:
    network = naming.path("Microsoft.Network/virtualNetworks", naming.name)
    inside = {
        "subnet": {"id": section.subnet or f"{network}/subnets/machines"},
        "publicIPAddress": {"id": naming.path("Microsoft.Network/publicIPAddresses", naming.name)},
    }
    firewall = naming.path("Microsoft.Network/networkSecurityGroups", naming.name)
    body = {
        "location": section.region,
        "properties": {
            "ipConfigurations": [{"name": "public", "properties": inside}],
            "networkSecurityGroup": {"id": firewall},
        },
    }
    needs = (FIREWALL, ADDRESS) if section.subnet else (NETWORK, FIREWALL, ADDRESS)
    kind, what = "Microsoft.Network/networkInterfaces", "the machine's way to the network"
    return part(naming, INTERFACE, kind, what, body, *needs)


def disk_of(naming: Naming) -> str:
    """Path of the machine's disk, which comes and goes with it."""
    return naming.path("Microsoft.Compute/disks", naming.name)


def image_of(section: AzureSection) -> dict[str, str]:
    """The image of the machine's disk."""
    arm = machine_of(section.size) == "aarch64"
    image = section.image or f"Debian:debian-12:{'12-arm64' if arm else '12-gen2'}:latest"
    return dict(zip(("publisher", "offer", "sku", "version"), image.split(":"), strict=True))


def security_of(section: AzureSection) -> dict[str, Any]:
    """What guards a machine's disk and its boot."""
    security: dict[str, Any] = {}
    if section.encryption_at_host:
        security["encryptionAtHost"] = True
    if section.image is None and machine_of(section.size) != "aarch64":
        security["securityType"] = "TrustedLaunch"
        security["uefiSettings"] = {"secureBootEnabled": True, "vTpmEnabled": True}
    return {"securityProfile": security} if security else {}


def _machine(naming: Naming, section: AzureSection) -> Resource:
    interface = naming.path("Microsoft.Network/networkInterfaces", naming.name)
    properties: dict[str, Any] = {
        "hardwareProfile": {"vmSize": section.size},
        "storageProfile": {
            "imageReference": image_of(section),
            "osDisk": {
                "name": naming.name,
                "createOption": "FromImage",
                "deleteOption": "Delete",
                "diskSizeGB": section.disk_gb,
                "managedDisk": {"storageAccountType": "StandardSSD_LRS"},
            },
        },
        "osProfile": _login(naming, section),
        "networkProfile": {"networkInterfaces": [{"id": interface}]},
        # the console, by which the machine says its host keys
        "diagnosticsProfile": {"bootDiagnostics": {"enabled": True}},
    }
    properties |= security_of(section)
    what = f"a machine {section.size} of {section.image or 'Debian 12'}, {section.disk_gb} GB"
    body = {"location": section.region, "properties": properties}
    made = part(naming, MACHINE, "Microsoft.Compute/virtualMachines", what, body, INTERFACE)
    price = price_of("azure", section.region, section.size, section.disk_gb)
    return msgspec.structs.replace(made, price=price)


def _login(naming: Naming, section: AzureSection) -> dict[str, Any]:
    key = {
        "path": f"/home/{section.user}/.ssh/authorized_keys",
        "keyData": public_key(section.identity),
    }
    return {
        "computerName": naming.name,
        "adminUsername": section.user,
        "linuxConfiguration": {
            "disablePasswordAuthentication": True,
            "ssh": {"publicKeys": [key]},
        },
    }


def _alarms(naming: Naming, section: AzureSection, project: Project) -> tuple[Resource, ...]:
    """Those of `[monitor]` whose metrics Azure has without an agent, and what all look at."""
    machine = naming.path("Microsoft.Compute/virtualMachines", naming.name)
    on = alarm_documents(project, Place(model=naming.model, resource=machine))
    sources = {"Microsoft.Compute/virtualMachines": machine, "roadworthy": machine}
    return (
        notices(naming, section), *alerts(naming, on, machine, MACHINE),
        dashboard(naming, section.region, GROUP, on, sources, MACHINE),
    )  # fmt: skip


def alarm_documents(project: Project, place: Place) -> list[tuple[Alarm, dict[str, Any]]]:
    """Each alarm that is on, and the document of Azure's alert for it.

    Args:
        project: For `[monitor]`.
        place: What they are about.
    """
    on = alarm_list(project.monitor)
    (template,) = TARGETS["azure"].render(on, place).values()
    return list(zip(on, msgspec.json.decode(template)["resources"], strict=True))


def alerts(
    naming: Naming, alarms: Sequence[tuple[Alarm, dict[str, Any]]], scope: str, need: str,
    release: str = "",
) -> tuple[Resource, ...]:  # fmt: skip
    """Those alarms that the own metrics of one thing can ring.

    Args:
        naming: Names and tags.
        alarms: Each alarm that is on, and the document of Azure's alert for it.
        scope: Path of the thing.
        need: The part that it is.
        release: The release whose part it is; empty: of none.
    """
    kind, _, name = scope.rpartition("/providers/")[2].rpartition("/")
    told = naming.path("Microsoft.Insights/actionGroups", naming.name)
    own = {"scopes": [scope], "actions": [{"actionGroupId": told}]}
    return tuple(
        part(
            naming, f"{ALARM}{alarm.name}{release and '-'}{release}", document["type"],
            f"an alarm, {alarm.name}",
            {"location": document["location"], "properties": document["properties"] | own},
            need, NOTICES, called=f"{name}-{alarm.name}",
        )
        for alarm, document in alarms
        if document["properties"]["criteria"]["allOf"][0]["metricNamespace"] == kind
    )  # fmt: skip


def notices(naming: Naming, section: AzureSection) -> Resource:
    """Whom alarms tell; it is there, too, while they tell nobody."""
    receivers = [
        {"name": f"mail-{number}", "emailAddress": mail, "useCommonAlertSchema": True}
        for number, mail in enumerate(dict.fromkeys(section.notify), 1)
    ]
    properties = {"groupShortName": "roadworthy", "enabled": True, "emailReceivers": receivers}
    body = {"location": "Global", "properties": properties}
    what = f"whom alarms tell: {', '.join(section.notify) or 'nobody yet: set notify'}"
    return part(naming, NOTICES, "Microsoft.Insights/actionGroups", what, body)
