"""The parts of a fleet as resources of Terraform's provider `hashicorp/google`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from roadworthy.deploy.cloud.terraform import Resources
from roadworthy.deploy.gcp.comparing import told
from roadworthy.deploy.gcp.fleet.wanted import TRIAL
from roadworthy.deploy.gcp.listing import STORE
from roadworthy.deploy.gcp.resource import Naming, Resource
from roadworthy.deploy.gcp.terraform_words import own_subnet, snake

SCRIPT, ARCHIVE = "startup-script", "release.tar"
"""The files beside the document: what machines begin with, and what they fetch."""
_HEALTH = "${google_compute_health_check.health.id}"
_GROUP = "${google_compute_region_instance_group_manager.group.%s}"


def stored(key: str) -> Resources:
    """The archive that a release's machines fetch.

    Args:
        key: Its place in the bucket.
    """
    return {
        "google_storage_bucket_object.release": {
            "bucket": "${google_storage_bucket.releases.name}",
            "name": key,
            "source": f"${{path.module}}/{ARCHIVE}",
        }
    }


def _bucket(part: Resource, naming: Naming) -> Resources:
    """That of releases, which can be made again, or that of a registry's models, which cannot."""
    closed, models = part.body["iamConfiguration"], part.id == STORE
    arguments = {
        "name": part.body["name"],
        "location": part.body["location"],
        "uniform_bucket_level_access": closed["uniformBucketLevelAccess"]["enabled"],
        "public_access_prevention": closed["publicAccessPrevention"],
        "force_destroy": not models,
    }
    if models:
        return {"google_storage_bucket.models": arguments}
    return {
        "google_storage_bucket.releases": arguments,
        "google_storage_bucket_iam_member.releases": {
            "bucket": "${google_storage_bucket.releases.name}",
            "role": "roles/storage.objectViewer",
            "member": "serviceAccount:${google_service_account.machines.email}",
        },
    }


def _address(part: Resource, naming: Naming) -> Resources:
    body = part.body
    arguments = {"name": body["name"], "address_type": body["addressType"],
                 "ip_version": body["ipVersion"]}  # fmt: skip
    return {"google_compute_global_address.address": arguments}


def _health(part: Resource, naming: Naming) -> Resources:
    body = {key: value for key, value in part.body.items() if key not in ("description", "type")}
    asked = {"http_health_check": snake(body.pop("httpHealthCheck"))}
    return {"google_compute_health_check.health": snake(body) | asked}


def _service(part: Resource, naming: Naming) -> Resources:
    """What callers reach; a trial is what `deploy apply` asks by, before callers get a release."""
    if part.id == TRIAL:
        return {}
    body = part.body
    return {
        "google_compute_backend_service.service": {
            "name": body["name"],
            "protocol": body["protocol"],
            "port_name": body["portName"],
            "load_balancing_scheme": body["loadBalancingScheme"],
            "timeout_sec": body["timeoutSec"],
            "health_checks": [_HEALTH],
            "connection_draining_timeout_sec": body["connectionDraining"]["drainingTimeoutSec"],
        }
    }


def _map(part: Resource, naming: Naming) -> Resources:
    arguments = {"name": part.body["name"],
                 "default_service": "${google_compute_backend_service.service.id}"}  # fmt: skip
    return {"google_compute_url_map.map": arguments}


def _proxy(part: Resource, naming: Naming) -> Resources:
    arguments = {"name": part.body["name"], "url_map": "${google_compute_url_map.map.id}"}
    if "sslCertificates" not in part.body:
        return {"google_compute_target_http_proxy.proxy": arguments}
    arguments["ssl_certificates"] = part.body["sslCertificates"]
    return {"google_compute_target_https_proxy.proxy": arguments}


def _door(part: Resource, naming: Naming) -> Resources:
    body = part.body
    kind = "https" if "targetHttpsProxies" in body["target"] else "http"
    return {
        "google_compute_global_forwarding_rule.door": {
            "name": body["name"],
            "ip_protocol": body["IPProtocol"],
            "port_range": body["portRange"],
            "ip_address": "${google_compute_global_address.address.id}",
            "target": f"${{google_compute_target_{kind}_proxy.proxy.id}}",
            "load_balancing_scheme": body["loadBalancingScheme"],
        }
    }


def _template(part: Resource, naming: Naming) -> Resources:
    made = part.body["properties"]
    (disk,), (interface,) = made["disks"], made["networkInterfaces"]
    (account,) = made["serviceAccounts"]
    image, items = disk["initializeParams"], told(made["metadata"]["items"])
    arguments = {
        "name": part.body["name"],
        "machine_type": made["machineType"],
        "tags": made["tags"]["items"],
        "disk": [
            {
                "boot": disk["boot"],
                "auto_delete": disk["autoDelete"],
                "source_image": image["sourceImage"],
                "disk_size_gb": int(image["diskSizeGb"]),
                "disk_type": image["diskType"],
            }
        ],
        "network_interface": [
            {
                "subnetwork": own_subnet(interface["subnetwork"], naming),
                "access_config": [{}],
            }
        ],
        "metadata": items | {"startup-script": f'${{file("${{path.module}}/{SCRIPT}")}}'},
        "service_account": {
            "email": "${google_service_account.machines.email}", "scopes": account["scopes"],
        },
        # a newer image is no reason to make the machines anew
        "lifecycle": {"create_before_destroy": True,
                      "ignore_changes": ["disk[0].source_image"]},
    }  # fmt: skip
    if shield := made.get("shieldedInstanceConfig"):
        arguments["shielded_instance_config"] = snake(shield)
    return {"google_compute_instance_template.template": arguments}


def _group(part: Resource, naming: Naming) -> Resources:
    body = part.body
    (healing,) = body["autoHealingPolicies"]
    group = {
        "name": body["name"],
        "base_instance_name": body["baseInstanceName"],
        "region": part.parent.rpartition("/")[2],
        "version": [{"instance_template": "${google_compute_instance_template.template.id}"}],
        "named_port": body["namedPorts"],
        "auto_healing_policies": {
            "health_check": _HEALTH, "initial_delay_sec": healing["initialDelaySec"],
        },
        # the group before goes, and callers get this one, when its machines are there
        "wait_for_instances": True,
        "depends_on": ["google_storage_bucket_object.release",
                       "google_storage_bucket_iam_member.releases"],
        "lifecycle": {"create_before_destroy": True},
    }  # fmt: skip
    return {"google_compute_region_instance_group_manager.group": group}


def with_group(service: dict[str, Any]) -> dict[str, Any]:
    """The backend service when there is a group."""
    return service | {"backend": [{"group": _GROUP % "instance_group"}]}


def _scaling(part: Resource, naming: Naming) -> Resources:
    policy = part.body["autoscalingPolicy"]
    return {
        "google_compute_region_autoscaler.scaling": {
            "name": part.body["name"],
            "region": part.parent.rpartition("/")[2],
            "target": _GROUP % "id",
            "autoscaling_policy": {
                "mode": policy["mode"],
                "min_replicas": policy["minNumReplicas"],
                "max_replicas": policy["maxNumReplicas"],
                "cooldown_period": policy["coolDownPeriodSec"],
                "cpu_utilization": {"target": policy["cpuUtilization"]["utilizationTarget"]},
            },
            "lifecycle": {"create_before_destroy": True},
        }
    }


FLEET_KINDS: dict[str, Callable[[Resource, Naming], Resources]] = {
    "buckets": _bucket,
    "globalAddresses": _address,
    "healthChecks": _health,
    "backendServices": _service,
    "urlMaps": _map,
    "targetHttpProxies": _proxy,
    "targetHttpsProxies": _proxy,
    "globalForwardingRules": _door,
    "instanceTemplates": _template,
    "regionInstanceGroupManagers": _group,
    "regionAutoscalers": _scaling,
}
