"""The parts of a deployment on Google Cloud as resources of Terraform's `hashicorp/google`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from roadworthy.deploy.cloud.filling import fill
from roadworthy.deploy.cloud.terraform import Resources, escaped, gathered
from roadworthy.deploy.gcp.ci import ACCOUNT
from roadworthy.deploy.gcp.comparing import told
from roadworthy.deploy.gcp.fleet.terraform import FLEET_KINDS, with_group
from roadworthy.deploy.gcp.listing import USER
from roadworthy.deploy.gcp.resource import Naming, Resource
from roadworthy.deploy.gcp.terraform_registry import REGISTRY_KINDS, with_registry
from roadworthy.deploy.gcp.terraform_words import own_subnet, snake, word
from roadworthy.deploy.gcp.wanted import MACHINE, NETWORK_ADDRESS, SUBNET
from roadworthy.project import GcpSection

_NETWORK = "${google_compute_network.network.id}"
_REFERENCES = {
    NETWORK_ADDRESS: "${google_compute_address.address.address}",
    MACHINE: "${google_compute_instance.machine.instance_id}",
    f"{SUBNET}-network": "${data.google_compute_subnetwork.own.network}",
}
_SCALE = {"conditionThreshold": "condition_threshold", "conditionAbsent": "condition_absent"}


def document(
    parts: Mapping[str, Resource], naming: Naming, section: GcpSection, more: Resources
) -> dict[str, Any]:
    """What Terraform reads.

    Args:
        parts: The parts, by id.
        naming: The project, and the beginning of all names.
        section: The region, the zone, and the subnet when it is yours.
        more: Resources that no part is.
    """
    found: Resources = dict(more)
    if section.subnet:
        _, project, _, region, _, name = section.subnet.split("/")
        own = {"name": name, "region": region, "project": project}
        found["data-google_compute_subnetwork.own"] = own
    for part in parts.values():
        found |= (_KINDS | FLEET_KINDS | REGISTRY_KINDS)[part.collection](part, naming)
    if "google_compute_region_instance_group_manager.group" in found:
        service = "google_compute_backend_service.service"
        found[service] = with_group(found[service])
    place = {"project": naming.project, "region": section.region, "zone": section.zone}
    address = "google_compute_global_address" if section.fleet else "google_compute_address"
    outputs = {"address": {"value": f"${{{address}.address.address}}"}}
    if section.ci:
        outputs["provider"] = {"value": "${google_iam_workload_identity_pool_provider.ci.name}"}
        outputs["account"] = {"value": "${google_service_account.ci.email}"}
    written = gathered(found, "google", "hashicorp/google", ">= 5.0", {"google": place})
    return with_registry(written | {"output": outputs}, parts)


def _network(part: Resource, naming: Naming) -> Resources:
    arguments = {
        "name": part.body["name"],
        "auto_create_subnetworks": part.body["autoCreateSubnetworks"],
    }
    return {"google_compute_network.network": arguments}


def _subnet(part: Resource, naming: Naming) -> Resources:
    arguments = {
        "name": part.body["name"],
        "region": part.parent.rpartition("/")[2],
        "network": _NETWORK,
        "ip_cidr_range": part.body["ipCidrRange"],
    }
    if part.body.get("privateIpGoogleAccess"):
        arguments["private_ip_google_access"] = True
    return {"google_compute_subnetwork.subnet": arguments}


def _firewall(part: Resource, naming: Naming) -> Resources:
    body = part.body
    own = body["network"].startswith("${")
    arguments = {
        "name": part.body["name"],
        "network": fill(body["network"], _REFERENCES) if own else _NETWORK,
        "direction": body["direction"],
        "source_ranges": body["sourceRanges"],
        "target_tags": body["targetTags"],
        "disabled": body["disabled"],
        "allow": [
            {"protocol": each["IPProtocol"], "ports": each["ports"]} for each in body["allowed"]
        ],
    }
    return {f"google_compute_firewall.{body['name'].rpartition('-')[2]}": arguments}


def _address(part: Resource, naming: Naming) -> Resources:
    arguments = {
        "name": part.body["name"],
        "region": part.parent.rpartition("/")[2],
        "address_type": part.body["addressType"],
    }
    if "subnetwork" in part.body:
        arguments["purpose"] = part.body["purpose"]
        arguments["subnetwork"] = own_subnet(part.body["subnetwork"], naming)
    return {f"google_compute_address.{word(part.id.removeprefix('gcp-'))}": arguments}


def _endpoint(part: Resource, naming: Naming) -> Resources:
    body = part.body
    own = body["network"].startswith("${")
    arguments = {
        "name": body["name"],
        "region": part.parent.rpartition("/")[2],
        "load_balancing_scheme": "",  # what leads to a service of others has none
        "network": fill(body["network"], _REFERENCES) if own else _NETWORK,
        "ip_address": "${google_compute_address.database_address.id}",
        "target": "${google_sql_database_instance.database.psc_service_attachment_link}",
        "allow_psc_global_access": body["allowPscGlobalAccess"],
    }
    return {"google_compute_forwarding_rule.database_endpoint": arguments}


def _machine(part: Resource, naming: Naming) -> Resources:
    body = part.body
    (disk,), (interface,) = body["disks"], body["networkInterfaces"]
    made = disk["initializeParams"]
    arguments = {
        "name": part.body["name"],
        "zone": part.parent.rpartition("/")[2],
        "machine_type": body["machineType"].rpartition("/")[2],
        "allow_stopping_for_update": True,
        "tags": body["tags"]["items"],
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
                "subnetwork": own_subnet(interface["subnetwork"], naming),
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
        arguments["shielded_instance_config"] = snake(shield)
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


def _dashboard(part: Resource, naming: Naming) -> Resources:
    text = msgspec.json.encode({**part.body, "labels": {}}).decode()
    return {"google_monitoring_dashboard.dashboard": {"dashboard_json": fill(text, _REFERENCES)}}


def _policy(part: Resource, naming: Naming) -> Resources:
    body = part.body
    channels = [
        f"${{google_monitoring_notification_channel.{word(each[2:-1])}.id}}"
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
        "alert_strategy": snake(body["alertStrategy"]),
        "conditions": [_condition(each) for each in body["conditions"]],
        "notification_channels": channels,
    }
    return {f"google_monitoring_alert_policy.{_resource(part)}": arguments}


def _condition(condition: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"display_name": escaped(condition["displayName"])}
    for kind, name in _SCALE.items():
        if kind in condition:
            asked = snake(condition[kind])
            asked["filter"] = fill(asked["filter"], _REFERENCES)
            for key in ("aggregations", "denominator_aggregations"):
                if key in asked:
                    asked[key] = [snake(each) for each in asked[key]]
            found[name] = asked
    return found


def _account(part: Resource, naming: Naming) -> Resources:
    """That of a fleet's machines, or the pipeline's with the subject that alone may use it."""
    name = "ci" if part.id == ACCOUNT else "machines"
    told = part.body["serviceAccount"]
    made = {"account_id": part.body["accountId"], "display_name": told["displayName"]}
    found: Resources = {f"google_service_account.{name}": made}
    for member in part.readers:
        subject = member.partition("/subject/")[2]
        pool = "${google_iam_workload_identity_pool.ci.name}"
        found["google_service_account_iam_member.ci"] = {
            "service_account_id": "${google_service_account.ci.name}",
            "role": USER,
            "member": f"principal://iam.googleapis.com/{pool}/subject/{subject}",
        }
    return found


def _pool(part: Resource, naming: Naming) -> Resources:
    arguments = {"workload_identity_pool_id": part.name,
                 "display_name": part.body["displayName"]}  # fmt: skip
    return {"google_iam_workload_identity_pool.ci": arguments}


def _provider(part: Resource, naming: Naming) -> Resources:
    body = part.body
    pool = "${google_iam_workload_identity_pool.ci.workload_identity_pool_id}"
    arguments = {
        "workload_identity_pool_id": pool,
        "workload_identity_pool_provider_id": part.name,
        "display_name": body["displayName"],
        "attribute_mapping": body["attributeMapping"],
        "attribute_condition": body["attributeCondition"],
        "oidc": snake(body["oidc"]),
    }
    return {"google_iam_workload_identity_pool_provider.ci": arguments}


def _resource(part: Resource) -> str:
    return word(part.id)


_KINDS: dict[str, Callable[[Resource, Naming], Resources]] = {
    "networks": _network,
    "subnetworks": _subnet,
    "firewalls": _firewall,
    "addresses": _address,
    "forwardingRules": _endpoint,
    "instances": _machine,
    "notificationChannels": _channel,
    "alertPolicies": _policy,
    "dashboards": _dashboard,
    "serviceAccounts": _account,
    "workloadIdentityPools": _pool,
    "workloadIdentityPoolProviders": _provider,
}
