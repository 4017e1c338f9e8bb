"""What a section asks of Google Cloud: every part, from the network to the alarms."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Container, Sequence
from typing import Any

import msgspec

from roadworthy.deploy.cloud.keys import public_key
from roadworthy.deploy.cloud.prices import price_of
from roadworthy.deploy.gcp.ci import ci_parts
from roadworthy.deploy.gcp.resource import Naming, Resource
from roadworthy.monitor.alarms import TARGETS, Alarm, Place, alarm_list
from roadworthy.monitor.alarms.google import dashboard
from roadworthy.project import GcpSection, Project

NETWORK, SUBNET, SSH, CALLERS = "gcp-network", "gcp-subnet", "gcp-firewall-ssh", "gcp-firewall"
ADDRESS, MACHINE, DASHBOARD = "gcp-address", "gcp-machine", "gcp-dashboard"
NETWORK_ADDRESS = "gcp-address-number"
"""What `${…}` names the number of the address by."""
_RANGE = "10.83.0.0/24"
_ARM_TYPE = re.compile(r"(t2a|c4a|n4a|a4x)-")


def machine_of(machine_type: str) -> str:
    """`aarch64` for types of Axion and Ampere processors, else `x86_64`."""
    return "aarch64" if _ARM_TYPE.match(machine_type) else "x86_64"


def short(naming: Naming) -> str:
    """A name where names are short, the same for a deployment in a project and no other."""
    return f"rw-{hashlib.sha256(naming.deployment.encode()).hexdigest()[:8]}"


def resources(naming: Naming, section: GcpSection, project: Project) -> tuple[Resource, ...]:
    """Every part, in the order in which they are made."""
    network = () if section.subnet else (_network(naming), _subnet(naming, section))
    return (
        *network,
        *_firewalls(naming, section),
        _address(naming, section),
        _machine(naming, section),
        *(_alarms(naming, section, project) if section.alarms else ()),
        *ci_parts(naming, section, short(naming)),
    )


def _command(naming: Naming, *words: str, **options: str) -> str:
    given = [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]
    return shlex.join(["gcloud", *words, f"--project={naming.project}", *given])


def _network(naming: Naming) -> Resource:
    mark = naming.mark(NETWORK)
    return Resource(
        id=NETWORK, what="a network", collection="networks",
        parent=f"projects/{naming.project}/global",
        body={"name": naming.name, "autoCreateSubnetworks": False, "description": mark},
        command=_command(naming, "compute", "networks", "create", naming.name,
                         subnet_mode="custom", description=mark),
    )  # fmt: skip


def network_path(naming: Naming) -> str:
    """The network that is made."""
    return f"projects/{naming.project}/global/networks/{naming.name}"


def _subnet(naming: Naming, section: GcpSection) -> Resource:
    mark = naming.mark(SUBNET)
    return Resource(
        id=SUBNET, what=f"a subnet, {_RANGE}", collection="subnetworks",
        parent=f"projects/{naming.project}/regions/{section.region}",
        body={"name": naming.name, "network": network_path(naming), "ipCidrRange": _RANGE,
              "description": mark},
        command=_command(naming, "compute", "networks", "subnets", "create", naming.name,
                         network=naming.name, region=section.region, range=_RANGE,
                         description=mark),
        needs=(NETWORK,),
    )  # fmt: skip


def _firewalls(naming: Naming, section: GcpSection) -> tuple[Resource, ...]:
    """Who may reach SSH and the public ports; Google closes the rest.

    In a network of your own its rules hold besides these.
    """
    ports = sorted({section.public_port, *([80] if section.domain else [])})
    return (
        _firewall(naming, section, SSH, "ssh", [22], section.ssh_from),
        _firewall(naming, section, CALLERS, "callers", ports, section.allow_from),
    )


def _firewall(
    naming: Naming, section: GcpSection, part: str, name: str, ports: list[int],
    networks: tuple[str, ...],
) -> Resource:  # fmt: skip
    allowed, sources = [str(port) for port in ports], list(dict.fromkeys(networks))
    mark = naming.mark(part)
    # the rules of a network of your own are in it, which only Google knows
    network = f"${{{SUBNET}-network}}" if section.subnet else network_path(naming)
    return Resource(
        id=part, what=f"a firewall: port {', '.join(allowed)} from {', '.join(sources)}",
        collection="firewalls", parent=f"projects/{naming.project}/global",
        body={
            "name": f"{naming.name}-{name}", "network": network, "direction": "INGRESS",
            "sourceRanges": sources, "allowed": [{"IPProtocol": "tcp", "ports": allowed}],
            "targetTags": [naming.name], "disabled": False, "description": mark,
        },
        command=_command(naming, "compute", "firewall-rules", "create", f"{naming.name}-{name}",
                         network=network, direction="INGRESS", source_ranges=",".join(sources),
                         allow=",".join(f"tcp:{port}" for port in allowed),
                         target_tags=naming.name, description=mark),
        needs=() if section.subnet else (NETWORK,),
    )  # fmt: skip


def _address(naming: Naming, section: GcpSection) -> Resource:
    mark = naming.mark(ADDRESS)
    return Resource(
        id=ADDRESS, what="a fixed public address", collection="addresses",
        parent=f"projects/{naming.project}/regions/{section.region}",
        body={"name": naming.name, "addressType": "EXTERNAL", "description": mark},
        command=_command(naming, "compute", "addresses", "create", naming.name,
                         region=section.region, description=mark),
        price=price_of("gcp", section.region, "address"),
    )  # fmt: skip


def metadata(section: GcpSection) -> dict[str, str]:
    """What the machine is told: the key, and that nobody else's keys count."""
    return {
        "ssh-keys": f"{section.user}:{public_key(section.identity)}",
        "enable-oslogin": "FALSE",
        "block-project-ssh-keys": "TRUE",
        "enable-guest-attributes": "TRUE",  # by which the machine says its host keys
        "serial-port-enable": "FALSE",
    }


def _machine(naming: Naming, section: GcpSection) -> Resource:
    arm = machine_of(section.machine_type) == "aarch64"
    family = f"debian-12{'-arm64' if arm else ''}"
    zone = f"projects/{naming.project}/zones/{section.zone}"
    body: dict[str, Any] = {
        "name": naming.name,
        "description": naming.mark(MACHINE),
        "labels": naming.labels(MACHINE),
        "machineType": f"{zone}/machineTypes/{section.machine_type}",
        "tags": {"items": [naming.name]},
        "disks": [
            {
                "boot": True,
                "autoDelete": True,
                "initializeParams": {
                    "sourceImage": section.image
                    or f"projects/debian-cloud/global/images/family/{family}",
                    "diskSizeGb": str(section.disk_gb),
                    "diskType": f"{zone}/diskTypes/pd-balanced",
                    "labels": naming.labels(MACHINE),
                },
            }
        ],
        "networkInterfaces": [_interface(naming, section)],
        "metadata": {
            "items": [{"key": key, "value": value} for key, value in metadata(section).items()]
        },
    }
    if section.service_account:
        body["serviceAccounts"] = [
            {
                "email": section.service_account,
                "scopes": ["https://www.googleapis.com/auth/cloud-platform"],
            }
        ]
    if not arm and section.image is None:
        body["shieldedInstanceConfig"] = {
            "enableSecureBoot": True, "enableVtpm": True, "enableIntegrityMonitoring": True,
        }  # fmt: skip
    return Resource(
        id=MACHINE, collection="instances", parent=zone, body=body,
        what=f"a machine {section.machine_type} of {section.image or 'Debian 12'}, "
        f"{section.disk_gb} GB",
        command=_machine_command(naming, section, family),
        needs=(SSH, CALLERS, ADDRESS, *(() if section.subnet else (SUBNET,))),
        price=price_of("gcp", section.region, section.machine_type, section.disk_gb),
    )  # fmt: skip


def subnet_path(naming: Naming, section: GcpSection) -> str:
    """The subnet that is made, or yours."""
    made = f"projects/{naming.project}/regions/{section.region}/subnetworks/{naming.name}"
    return section.subnet or made


def _interface(naming: Naming, section: GcpSection) -> dict[str, Any]:
    outside = {"name": "public", "type": "ONE_TO_ONE_NAT", "natIP": f"${{{NETWORK_ADDRESS}}}"}
    return {"subnetwork": subnet_path(naming, section), "accessConfigs": [outside]}


def _machine_command(naming: Naming, section: GcpSection, family: str) -> str:
    image = {"image_family": family, "image_project": "debian-cloud"}
    if section.image:
        image = {"image": section.image}
    labels = ",".join(f"{key}={value}" for key, value in naming.labels(MACHINE).items())
    told = ",".join(f"{key}={value}" for key, value in metadata(section).items())
    more = [f"--service-account={section.service_account}", "--scopes=cloud-platform"]
    if not section.service_account:
        more = ["--no-service-account", "--no-scopes"]
    if machine_of(section.machine_type) == "x86_64" and section.image is None:
        more += ["--shielded-secure-boot", "--shielded-vtpm", "--shielded-integrity-monitoring"]
    line = _command(
        naming, "compute", "instances", "create", naming.name, zone=section.zone,
        machine_type=section.machine_type, subnet=subnet_path(naming, section),
        address=naming.name, boot_disk_size=f"{section.disk_gb}GB", boot_disk_type="pd-balanced",
        tags=naming.name, labels=labels, metadata=told, description=naming.mark(MACHINE), **image,
    )  # fmt: skip
    return f"{line} {shlex.join(more)}"


def _alarms(naming: Naming, section: GcpSection, project: Project) -> tuple[Resource, ...]:
    """Those of `[monitor]` whose metrics Google has without an agent on the machine."""
    place = Place(model=naming.model, resource=f"${{{MACHINE}}}")
    return alarms(naming, section, project, place, ("cpu",), MACHINE)


def alarms(
    naming: Naming, section: GcpSection, project: Project, place: Place, known: Container[str],
    need: str,
) -> tuple[Resource, ...]:  # fmt: skip
    """Whom alarms tell, and the alarms of `[monitor]` that Google can ring by itself.

    Args:
        naming: Names and marks.
        section: `[deploy.NAME]`, for `notify`.
        project: For `[monitor]`.
        place: What the alarms are about.
        known: Names of those that it can ring.
        need: The part that they are about.
    """
    channels = _channels(naming, section)
    on = alarm_list(project.monitor)
    policies = TARGETS["google"].render(on, place)["google-policies.json"]
    found = []
    for policy in msgspec.json.decode(policies):
        alarm = policy["userLabels"]["alarm"]
        if alarm not in known:
            continue
        part = f"gcp-alarm-{alarm}"
        body = {
            **policy,
            "displayName": f"{naming.name}: {policy['conditions'][0]['displayName']}",
            "userLabels": naming.labels(part),
            "notificationChannels": [f"${{{each.id}}}" for each in channels],
        }
        given = msgspec.json.encode(body).decode()
        found.append(
            Resource(
                id=part, what=f"an alarm, {alarm}", collection="alertPolicies",
                parent=f"projects/{naming.project}", body=body,
                command=_command(naming, "alpha", "monitoring", "policies", "create", policy=given),
                needs=(need, *(each.id for each in channels)),
            )
        )  # fmt: skip
    return (*channels, *found, _dashboard(naming, on, place, need))


def _dashboard(naming: Naming, on: Sequence[Alarm], place: Place, need: str) -> Resource:
    body = {**dashboard(on, place), "displayName": naming.name, "labels": naming.labels(DASHBOARD)}
    given = msgspec.json.encode(body).decode()
    return Resource(
        id=DASHBOARD, what="a dashboard of what alarms look at", collection="dashboards",
        parent=f"projects/{naming.project}", body=body, needs=(need,),
        command=_command(naming, "monitoring", "dashboards", "create", config=given),
    )  # fmt: skip


def _channels(naming: Naming, section: GcpSection) -> tuple[Resource, ...]:
    found = []
    for number, mail in enumerate(dict.fromkeys(section.notify), 1):
        part = f"gcp-channel-{number}"
        labels = ",".join(f"{key}={value}" for key, value in naming.labels(part).items())
        body: dict[str, Any] = {
            "type": "email", "displayName": f"{naming.name}: {mail}",
            "labels": {"email_address": mail}, "userLabels": naming.labels(part), "enabled": True,
        }  # fmt: skip
        found.append(
            Resource(
                id=part, what=f"whom alarms tell: {mail}", collection="notificationChannels",
                parent=f"projects/{naming.project}", body=body,
                command=_command(
                    naming, "beta", "monitoring", "channels", "create", type="email",
                    display_name=body["displayName"], user_labels=labels,
                    channel_labels=f"email_address={mail}",
                ),
            )
        )  # fmt: skip
    return tuple(found)
