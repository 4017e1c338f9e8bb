"""What a fleet stands on: network, account of the machines, bucket, load balancer."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from roadworthy.deploy.cloud.fleet_base import PORT
from roadworthy.deploy.cloud.prices import price_of, stored
from roadworthy.deploy.gcp.ci import ci_parts
from roadworthy.deploy.gcp.resource import Naming, Resource, by_hand
from roadworthy.deploy.gcp.wanted import alarms, short
from roadworthy.monitor.alarms import Place
from roadworthy.monitor.alarms.google import BALANCED
from roadworthy.project import GcpSection, Project

NETWORK, SUBNET, FIREWALL = "gcp-network", "gcp-subnet", "gcp-firewall-balancer"
ACCOUNT, BUCKET, HEALTH = "gcp-account", "gcp-bucket", "gcp-health-check"
SERVICE, TRIAL, MAP = "gcp-service", "gcp-trial", "gcp-map"
ADDRESS, PROXY, DOOR = "gcp-address", "gcp-proxy", "gcp-door"
_RANGE = "10.83.0.0/24"
_BALANCERS = ["130.211.0.0/22", "35.191.0.0/16"]
"""Where Google's balancers and health checks come from
(https://cloud.google.com/load-balancing/docs/health-checks#firewall_rules)."""


def bucket_of(naming: Naming) -> str:
    """The bucket of releases; buckets of all projects share their names."""
    return f"{short(naming)}-{re.sub('[^a-z0-9-]', '-', naming.project)}"


def account_of(naming: Naming) -> str:
    """Who the machines are; a project of a domain (`example.org:name`) turns round in it."""
    domain, _, name = naming.project.rpartition(":")
    end = f"{name}.{domain}" if domain else name
    return f"{short(naming)}@{end}.iam.gserviceaccount.com"


def global_path(naming: Naming, word: str, name: str = "") -> str:
    """The path of a thing of no region."""
    return f"projects/{naming.project}/global/{word}/{name or naming.name}"


def fleet_parts(naming: Naming, section: GcpSection, project: Project) -> tuple[Resource, ...]:
    """Everything but the releases, in the order in which it is made."""
    drain = int(project.serve.drain_seconds)
    network = () if section.subnet else (_network(naming), _subnet(naming, section))
    return (
        *network, _firewall(naming, section), _account(naming), _bucket(naming, section),
        _address(naming), _health(naming), _service(naming, SERVICE, drain),
        _service(naming, TRIAL, drain), _map(naming), _proxy(naming, section),
        _door(naming, section), *_watching(naming, section, project),
        *ci_parts(naming, section, short(naming)),
    )  # fmt: skip


def _watching(naming: Naming, section: GcpSection, project: Project) -> tuple[Resource, ...]:
    if not section.alarms:
        return ()
    place = Place(model=naming.model, balancer=naming.name, fleet=naming.deployment)
    # of their memory, machines of this series alone tell without an agent
    memory = ("memory",) if section.machine_type.startswith("e2-") else ()
    return alarms(naming, section, project, place, (*BALANCED, "cpu", *memory), MAP)


def subnet_path(naming: Naming, section: GcpSection) -> str:
    """The machines' subnet."""
    made = f"projects/{naming.project}/regions/{section.region}/subnetworks/{naming.name}"
    return section.subnet or made


def part(
    naming: Naming, name: str, what: str, collection: str, body: dict[str, Any], *needs: str,
    region: str = "", url: str = "",
) -> Resource:  # fmt: skip
    """A part of Compute Engine, of a region or of none, with the call that makes it by hand."""
    scope = f"regions/{region}" if region else "global"
    parent = f"projects/{naming.project}/{scope}"
    made = Resource(
        id=name, what=what, collection=collection, parent=parent, needs=needs, command="",
        body={"description": naming.mark(name), **body},
    )  # fmt: skip
    where = url or f"https://compute.googleapis.com/compute/v1/{made.path.rpartition('/')[0]}"
    return msgspec.structs.replace(made, command=by_hand(where, made.body))


def _network(naming: Naming) -> Resource:
    body = {"name": naming.name, "autoCreateSubnetworks": False}
    return part(naming, NETWORK, "a network", "networks", body)


def _subnet(naming: Naming, section: GcpSection) -> Resource:
    body = {
        "name": naming.name, "network": global_path(naming, "networks"), "ipCidrRange": _RANGE,
        "privateIpGoogleAccess": True,
    }  # fmt: skip
    what = f"a subnet, {_RANGE}"
    return part(naming, SUBNET, what, "subnetworks", body, NETWORK, region=section.region)


def _firewall(naming: Naming, section: GcpSection) -> Resource:
    network = f"${{{SUBNET}-network}}" if section.subnet else global_path(naming, "networks")
    body = {
        "name": f"{naming.name}-balancer", "network": network, "direction": "INGRESS",
        "sourceRanges": _BALANCERS, "allowed": [{"IPProtocol": "tcp", "ports": [str(PORT)]}],
        "targetTags": [naming.name], "disabled": False,
    }  # fmt: skip
    what = "a firewall: the machines answer nobody but the load balancer"
    needs = () if section.subnet else (NETWORK,)
    return part(naming, FIREWALL, what, "firewalls", body, *needs)


def _account(naming: Naming) -> Resource:
    parent = f"projects/{naming.project}"
    body = {
        "accountId": short(naming),
        "serviceAccount": {
            "displayName": naming.name, "description": naming.mark(ACCOUNT),
        },
    }  # fmt: skip
    return Resource(
        id=ACCOUNT, what="an account: the machines read releases, no more", parent=parent,
        collection="serviceAccounts", body=body, name=account_of(naming),
        command=by_hand(f"https://iam.googleapis.com/v1/{parent}/serviceAccounts", body),
    )  # fmt: skip


def _bucket(naming: Naming, section: GcpSection) -> Resource:
    body = {
        "name": bucket_of(naming),
        "location": section.region.upper(),
        "labels": {key: each.lower() for key, each in naming.labels(BUCKET).items()},
        "iamConfiguration": {
            "uniformBucketLevelAccess": {"enabled": True},
            "publicAccessPrevention": "enforced",
        },
    }
    url = f"https://storage.googleapis.com/storage/v1/b?project={naming.project}"
    return Resource(
        id=BUCKET, what="a bucket for releases, closed to the public, which the account reads",
        collection="buckets", parent="", body=body, command=by_hand(url, body),
        price=stored("gcp", section.region),
        readers=(f"serviceAccount:{account_of(naming)}",), needs=(ACCOUNT,),
    )  # fmt: skip


def _address(naming: Naming) -> Resource:
    body = {"name": naming.name, "addressType": "EXTERNAL", "ipVersion": "IPV4"}
    return part(naming, ADDRESS, "a fixed public address", "globalAddresses", body)


def _health(naming: Naming) -> Resource:
    body = {
        "name": naming.name, "type": "HTTP", "checkIntervalSec": 10, "timeoutSec": 5,
        "healthyThreshold": 2, "unhealthyThreshold": 3,
        "httpHealthCheck": {"port": PORT, "requestPath": "/readyz"},
    }  # fmt: skip
    return part(naming, HEALTH, "who is healthy: /readyz answers", "healthChecks", body)


def service_name(naming: Naming, which: str) -> str:
    """The name of a backend service."""
    return naming.name if which == SERVICE else f"{naming.name}-trial"


def _service(naming: Naming, which: str, drain: int) -> Resource:
    body: dict[str, Any] = {
        "name": service_name(naming, which), "protocol": "HTTP", "portName": "http",
        "loadBalancingScheme": "EXTERNAL_MANAGED", "timeoutSec": 60,
        "healthChecks": [global_path(naming, "healthChecks")],
        "connectionDraining": {"drainingTimeoutSec": drain},
    }  # fmt: skip
    if which == TRIAL:
        body["backends"] = []
    whom = "callers reach" if which == SERVICE else "is tried before callers reach it"
    what = f"a backend service: the group that {whom}"
    return part(naming, which, what, "backendServices", body, HEALTH)


def routes(naming: Naming, path: str | None = None) -> dict[str, Any]:
    """What leads to the release that is tried; a trial that was cut off is seen by it and ended.

    Args:
        naming: Names and marks.
        path: What of it is open to requests; None: nothing.
    """
    services = {
        which: global_path(naming, "backendServices", service_name(naming, which))
        for which in (SERVICE, TRIAL)
    }
    # Google looks after the health of what a map names, so that a name nobody has must lead to it
    hosts = [{"hosts": ["trial.invalid"], "pathMatcher": "trial"}]
    matchers: list[dict[str, Any]] = [{"name": "trial", "defaultService": services[TRIAL]}]
    if path is not None:
        rule = {"paths": [f"{path}/*"], "service": services[TRIAL]}
        hosts.append({"hosts": ["*"], "pathMatcher": "callers"})
        matchers.append(
            {"name": "callers", "defaultService": services[SERVICE], "pathRules": [rule]}
        )
    return {"hostRules": hosts, "pathMatchers": matchers}


def _map(naming: Naming) -> Resource:
    body = {
        "name": naming.name, "defaultService": global_path(naming, "backendServices"),
        **routes(naming),
    }  # fmt: skip
    return part(naming, MAP, "where requests go", "urlMaps", body, SERVICE, TRIAL)


def _proxy(naming: Naming, section: GcpSection) -> Resource:
    body: dict[str, Any] = {"name": naming.name, "urlMap": global_path(naming, "urlMaps")}
    if section.certificate is None:
        return part(naming, PROXY, "a proxy that speaks HTTP", "targetHttpProxies", body, MAP)
    body["sslCertificates"] = [section.certificate]
    return part(naming, PROXY, "a proxy that speaks TLS", "targetHttpsProxies", body, MAP)


def _door(naming: Naming, section: GcpSection) -> Resource:
    word = "targetHttpsProxies" if section.certificate else "targetHttpProxies"
    port = section.public_port
    body = {
        "name": naming.name, "IPProtocol": "TCP", "portRange": f"{port}-{port}",
        "IPAddress": global_path(naming, "addresses"), "target": global_path(naming, word),
        "loadBalancingScheme": "EXTERNAL_MANAGED",
    }  # fmt: skip
    what = f"its port {section.public_port}"
    door = part(naming, DOOR, what, "globalForwardingRules", body, PROXY, ADDRESS)
    return msgspec.structs.replace(door, price=price_of("gcp", section.region, "balancer"))
