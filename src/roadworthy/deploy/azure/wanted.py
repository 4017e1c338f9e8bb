"""What a section asks of Azure: every part, from the resource group to the alarms."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from roadworthy.deploy.azure.ci import ci_resources
from roadworthy.deploy.azure.dashboard import dashboard
from roadworthy.deploy.azure.registry import registry_parts
from roadworthy.deploy.azure.resource import Naming, Resource
from roadworthy.deploy.cloud.keys import public_key
from roadworthy.deploy.cloud.prices import price_of
from roadworthy.monitor.alarms import TARGETS, Place, alarm_list
from roadworthy.project import AzureSection, Project

GROUP, NETWORK, FIREWALL = "azure-group", "azure-network", "azure-firewall"
ADDRESS, INTERFACE, MACHINE = "azure-address", "azure-interface", "azure-machine"
NOTICES = "azure-notices"
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


def _resource(
    naming: Naming, part: str, kind: str, what: str, body: dict[str, Any], *needs: str,
    name: str | None = None,
) -> Resource:  # fmt: skip
    return Resource(
        id=part, what=what, path=naming.path(kind, name or naming.name), kind=kind,
        body={**body, "tags": naming.tags(part)}, needs=(GROUP, *needs),
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
    return _resource(naming, NETWORK, "Microsoft.Network/virtualNetworks", what, body)


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
    return _resource(naming, FIREWALL, "Microsoft.Network/networkSecurityGroups", what, body)


def _address(naming: Naming, section: AzureSection) -> Resource:
    body = {
        "location": section.region,
        "sku": {"name": "Standard"},
        "properties": {"publicIPAllocationMethod": "Static", "publicIPAddressVersion": "IPv4"},
    }
    made = _resource(
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
    return _resource(naming, INTERFACE, kind, what, body, *needs)


def disk_of(naming: Naming) -> str:
    """Path of the machine's disk, which comes and goes with it."""
    return naming.path("Microsoft.Compute/disks", naming.name)


def image_of(section: AzureSection) -> dict[str, str]:
    """The image of the machine's disk."""
    arm = machine_of(section.size) == "aarch64"
    image = section.image or f"Debian:debian-12:{'12-arm64' if arm else '12-gen2'}:latest"
    return dict(zip(("publisher", "offer", "sku", "version"), image.split(":"), strict=True))


def _machine(naming: Naming, section: AzureSection) -> Resource:
    arm = machine_of(section.size) == "aarch64"
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
    security: dict[str, Any] = {}
    if section.encryption_at_host:
        security["encryptionAtHost"] = True
    if section.image is None and not arm:
        security["securityType"] = "TrustedLaunch"
        security["uefiSettings"] = {"secureBootEnabled": True, "vTpmEnabled": True}
    if security:
        properties["securityProfile"] = security
    what = f"a machine {section.size} of {section.image or 'Debian 12'}, {section.disk_gb} GB"
    body = {"location": section.region, "properties": properties}
    made = _resource(naming, MACHINE, "Microsoft.Compute/virtualMachines", what, body, INTERFACE)
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
    group = naming.path("Microsoft.Insights/actionGroups", naming.name)
    machine = naming.path("Microsoft.Compute/virtualMachines", naming.name)
    found = [notices(naming, section)] if section.notify else []
    place = Place(model=naming.model, resource=machine, notify=group)
    on = alarm_list(project.monitor)
    (template,) = TARGETS["azure"].render(on, place).values()
    documents = msgspec.json.decode(template)["resources"]
    for document in documents:
        properties = document["properties"]
        (criterion,) = properties["criteria"]["allOf"]
        if not criterion["metricNamespace"].startswith("Microsoft.Compute/"):
            continue
        alarm = criterion["name"]
        properties["scopes"] = [machine]
        properties["actions"] = [{"actionGroupId": group}] if section.notify else []
        found.append(
            _resource(
                naming, f"azure-alarm-{alarm}", document["type"], f"an alarm, {alarm}",
                {"location": document["location"], "properties": properties},
                MACHINE, *((NOTICES,) if section.notify else ()), name=f"{naming.name}-{alarm}",
            )
        )  # fmt: skip
    sources = {"Microsoft.Compute/virtualMachines": machine, "roadworthy": machine}
    alarms = list(zip(on, documents, strict=True))
    return (*found, dashboard(naming, section.region, GROUP, alarms, sources, MACHINE))


def notices(naming: Naming, section: AzureSection) -> Resource:
    """Whom alarms tell."""
    receivers = [
        {"name": f"mail-{number}", "emailAddress": mail, "useCommonAlertSchema": True}
        for number, mail in enumerate(dict.fromkeys(section.notify), 1)
    ]
    properties = {"groupShortName": "roadworthy", "enabled": True, "emailReceivers": receivers}
    body = {"location": "Global", "properties": properties}
    what = f"whom alarms tell: {', '.join(section.notify)}"
    return _resource(naming, NOTICES, "Microsoft.Insights/actionGroups", what, body)
