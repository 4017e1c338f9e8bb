"""The parts of a deployment on Google Cloud as resources of Terraform's `hashicorp/google`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from roadworthy.deploy.cloud.filling import fill
from roadworthy.deploy.cloud.terraform import Resources, escaped, gathered
from roadworthy.deploy.gcp.comparing import told
from roadworthy.deploy.gcp.resource import Naming, Resource
from roadworthy.deploy.gcp.wanted import MACHINE, NETWORK_ADDRESS, SUBNET
from roadworthy.project import GcpSection

_NETWORK = "${google_compute_network.network.id}"
_REFERENCES = {
    NETWORK_ADDRESS: "${google_compute_address.address.address}",
    MACHINE: "${google_compute_instance.machine.instance_id}",
    f"{SUBNET}-network": "${data.google_compute_subnetwork.own.network}",
}
_SCALE = {"conditionThreshold": "condition_threshold", "conditionAbsent": "condition_absent"}


def document(parts: Mapping[str, Resource], naming: Naming, section: GcpSection) -> dict[str, Any]:
    """What Terraform reads.

    Args:
        parts: The parts, by id.
        naming: The project, and the beginning of all names.
        section: The region, the zone, and the subnet when it is yours.
    """
    found: Resources = {}
    if section.subnet:
        _, project, _, region, _, name = section.subnet.split("/")
        own = {"name": name, "region": region, "project": project}
        found["data-google_compute_subnetwork.own"] = own
    for part in parts.values():
        found |= _KINDS[part.collection](part, naming)
    place = {"project": naming.project, "region": section.region, "zone": section.zone}
    return gathered(found, "google", "hashicorp/google", ">= 5.0", {"google": place}) | {
        "output": {"address": {"value": "${google_compute_address.address.address}"}}
    }


def _name(part: Resource, naming: Naming) -> str:
    """Beside what `deploy apply` makes."""
    name = part.body["name"]
    return f"{naming.name}-terraform{name.removeprefix(naming.name)}"


def _network(part: Resource, naming: Naming) -> Resources:
    arguments = {
        "name": _name(part, naming),
        "auto_create_subnetworks": part.body["autoCreateSubnetworks"],
    }
    return {"google_compute_network.network": arguments}


def _subnet(part: Resource, naming: Naming) -> Resources:
    arguments = {
        "name": _name(part, naming),
        "region": part.parent.rpartition("/")[2],
        "network": _NETWORK,
        "ip_cidr_range": part.body["ipCidrRange"],
    }
    return {"google_compute_subnetwork.subnet": arguments}


def _firewall(part: Resource, naming: Naming) -> Resources:
    body = part.body
    own = body["network"].startswith("${")
    arguments = {
        "name": _name(part, naming),
        "network": fill(body["network"], _REFERENCES) if own else _NETWORK,
        "direction": body["direction"],
        "source_ranges": body["sourceRanges"],
        "target_tags": [f"{each}-terraform" for each in body["targetTags"]],
        "disabled": body["disabled"],
        "allow": [
            {"protocol": each["IPProtocol"], "ports": each["ports"]} for each in body["allowed"]
        ],
    }
    return {f"google_compute_firewall.{body['name'].rpartition('-')[2]}": arguments}


def _address(part: Resource, naming: Naming) -> Resources:
    arguments = {
        "name": _name(part, naming),
        "region": part.parent.rpartition("/")[2],
        "address_type": part.body["addressType"],
    }
    return {"google_compute_address.address": arguments}


def _machine(part: Resource, naming: Naming) -> Resources:
    body = part.body
    (disk,), (interface,) = body["disks"], body["networkInterfaces"]
    made = disk["initializeParams"]
    own = not interface["subnetwork"].endswith(f"/subnetworks/{naming.name}")
    subnet = interface["subnetwork"] if own else "${google_compute_subnetwork.subnet.id}"
    arguments = {
        "name": _name(part, naming),
        "zone": part.parent.rpartition("/")[2],
        "machine_type": body["machineType"].rpartition("/")[2],
        "allow_stopping_for_update": True,
        "tags": [f"{each}-terraform" for each in body["tags"]["items"]],
        "boot_disk": {
            "auto_delete": disk["autoDelete"],
            "initialize_params": {
                "image": made["sourceImage"],
                "size": int(made["diskSizeGb"]),
                "type": made["diskType"].rpartition("/")[2],
            },
        },
        "network_interface": [
            {
                "subnetwork": subnet,
                "access_config": [
                    {"nat_ip": fill(each["natIP"], _REFERENCES)}
                    for each in interface["accessConfigs"]
                ],
            }
        ],
        "metadata": told(body["metadata"]["items"]),
        # a newer image is no reason to make the machine anew
        "lifecycle": {"ignore_changes": ["boot_disk[0].initialize_params[0].image"]},
    }
    for account in body.get("serviceAccounts", ()):
        arguments["service_account"] = account
    if shield := body.get("shieldedInstanceConfig"):
        arguments["shielded_instance_config"] = _snake(shield)
    return {"google_compute_instance.machine": arguments}


def _channel(part: Resource, naming: Naming) -> Resources:
    body = part.body
    arguments = {
        "type": body["type"],
        "display_name": escaped(body["displayName"]),
        "labels": {key: escaped(value) for key, value in body["labels"].items()},
        "enabled": body["enabled"],
    }
    return {f"google_monitoring_notification_channel.{_resource(part)}": arguments}


def _policy(part: Resource, naming: Naming) -> Resources:
    body = part.body
    channels = [
        f"${{google_monitoring_notification_channel.{_word(each[2:-1])}.id}}"
        for each in body["notificationChannels"]
    ]
    arguments = {
        "display_name": escaped(body["displayName"]),
        "combiner": body["combiner"],
        "severity": body["severity"],
        "documentation": {
            "content": escaped(body["documentation"]["content"]),
            "mime_type": body["documentation"]["mimeType"],
        },
        "alert_strategy": _snake(body["alertStrategy"]),
        "conditions": [_condition(each) for each in body["conditions"]],
        "notification_channels": channels,
    }
    return {f"google_monitoring_alert_policy.{_resource(part)}": arguments}


def _condition(condition: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"display_name": escaped(condition["displayName"])}
    for kind, name in _SCALE.items():
        if kind in condition:
            asked = _snake(condition[kind])
            asked["filter"] = fill(asked["filter"], _REFERENCES)
            asked["aggregations"] = [_snake(each) for each in asked["aggregations"]]
            found[name] = asked
    return found


def _resource(part: Resource) -> str:
    return _word(part.id)


def _snake(given: Mapping[str, Any]) -> dict[str, Any]:
    return {_word(key): value for key, value in given.items()}


def _word(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).replace("-", "_").lower()


_KINDS: dict[str, Callable[[Resource, Naming], Resources]] = {
    "networks": _network,
    "subnetworks": _subnet,
    "firewalls": _firewall,
    "addresses": _address,
    "instances": _machine,
    "notificationChannels": _channel,
    "alertPolicies": _policy,
}
