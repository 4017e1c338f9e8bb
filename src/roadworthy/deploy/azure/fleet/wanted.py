"""What a fleet stands on: network, identities, store of releases, gateway, alarms."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

import msgspec

from roadworthy.deploy.azure.ci import CI, ci_resources
from roadworthy.deploy.azure.dashboard import dashboard
from roadworthy.deploy.azure.fleet.gateway import KEYS, KIND, gateway, gateway_of
from roadworthy.deploy.azure.registry import registry_parts
from roadworthy.deploy.azure.resource import Naming, Resource
from roadworthy.deploy.azure.wanted import (
    ADDRESS,
    FIREWALL,
    GROUP,
    NETWORK,
    alarm_documents,
    alerts,
    notices,
    part,
)
from roadworthy.deploy.cloud.fleet_base import PORT
from roadworthy.deploy.cloud.prices import price_of, stored, together
from roadworthy.monitor.alarms import Place
from roadworthy.monitor.alarms.azure import SETS
from roadworthy.project import AzureSection, Project

GATEWAY, IDENTITY, KEY_RIGHT = "azure-gateway", "azure-identity", "azure-gateway-right"
STORE, RELEASES = "azure-releases", "azure-releases-container"
READS, WRITES = "azure-releases-read", "azure-releases-write"
OUT, NAT = "azure-out-address", "azure-out"
CONTAINER = "releases"
_ACCOUNTS = "Microsoft.Storage/storageAccounts"
_IDENTITIES = "Microsoft.ManagedIdentity/userAssignedIdentities"
_RIGHTS = "Microsoft.Authorization/roleAssignments"
# https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
_READER = "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1"
_CONTRIBUTOR = "ba92f5b4-2d11-453d-a403-e96b0029c9fe"
_SECRETS_USER = "4633458b-17de-408a-b874-0445c86b69e6"
_BLOCK, _MACHINES, _GATEWAYS = "10.83.0.0/16", "10.83.0.0/24", "10.83.1.0/24"


def store_of(naming: Naming) -> str:
    """Path of the storage account of releases; accounts of all subscriptions share their names."""
    digest = hashlib.sha256(naming.group.lower().encode()).hexdigest()[:16]
    return naming.path(_ACCOUNTS, f"rwf{digest}")


def container_of(naming: Naming) -> str:
    """Path of the container of releases."""
    return f"{store_of(naming)}/blobServices/default/containers/{CONTAINER}"


def identity_of(naming: Naming, word: str) -> str:
    """Path of an identity: of the machines, or of the gateway."""
    return naming.path(_IDENTITIES, f"{naming.name}-{word}")


def key_right_of(naming: Naming, certificate: str) -> str:
    """Path of what lets the gateway read its certificate, which lies in a vault of yours."""
    seed = f"{naming.group.lower()}/{certificate.lower()}/{_SECRETS_USER}"
    return f"{certificate}/providers/{_RIGHTS}/{uuid.uuid5(uuid.NAMESPACE_URL, seed)}"


def is_ours(path: str, naming: Naming, section: AzureSection) -> bool:
    """Whether something that Azure gives no tags is the fleet's, by its place."""
    inside = path.lower().startswith(f"{store_of(naming)}/".lower())
    certificate = section.certificate
    mine = certificate and path.lower() == key_right_of(naming, certificate).lower()
    return inside or bool(mine)


def fleet_parts(naming: Naming, section: AzureSection, project: Project) -> tuple[Resource, ...]:
    """Everything but the releases, in the order in which it is made."""
    drain = max(1, int(project.serve.drain_seconds))
    group = Resource(
        id=GROUP, what=f"a resource group, {naming.name}", path=naming.group,
        kind="Microsoft.Resources/resourceGroups",
        body={"location": section.region, "tags": naming.tags(GROUP)},
    )  # fmt: skip
    return (
        group, *_network(naming, section), *_storing(naming, section),
        *_key(naming, section),
        _gateway(naming, section, drain),
        *(_alarms(naming, section, project) if section.alarms else ()),
        *ci_resources(naming, section, GROUP),
        *((_right(naming, f"{WRITES}-ci", _CONTRIBUTOR, CI, "ServicePrincipal"),)
          if section.ci else ()),
        *registry_parts(naming, section, GROUP, NETWORK),
    )  # fmt: skip


def _gateway(naming: Naming, section: AzureSection, drain: int) -> Resource:
    key = (KEY_RIGHT,) if section.certificate else ()
    made = part(
        naming, GATEWAY, KIND,
        "a gateway of two to ten instances, which callers reach",
        gateway(naming, section, drain), NETWORK, ADDRESS, *key,
    )  # fmt: skip
    price = together(
        price_of("azure", section.region, "balancer"),
        # ten units are kept ready for each of the two instances that are always there
        price_of("azure", section.region, "balancer unit", count=20),
    )
    return msgspec.structs.replace(made, price=price)


def _network(naming: Naming, section: AzureSection) -> tuple[Resource, ...]:
    """The machines have no public address: they reach outside by one of all of them."""
    addresses, nats = "Microsoft.Network/publicIPAddresses", "Microsoft.Network/natGateways"
    fixed = {"publicIPAllocationMethod": "Static", "publicIPAddressVersion": "IPv4"}
    address = {"location": section.region, "sku": {"name": "Standard"}, "properties": fixed}
    zones = {"zones": list(section.zones)} if section.zones else {}
    out = {
        "location": section.region, "sku": {"name": "Standard"},
        "properties": {
            "publicIpAddresses": [{"id": naming.path(addresses, f"{naming.name}-out")}],
        },
    }  # fmt: skip
    subnets = [
        {"name": "machines", "properties": {
            "addressPrefix": _MACHINES, "natGateway": {"id": naming.path(nats, naming.name)},
        }},
        {"name": "gateway", "properties": {"addressPrefix": _GATEWAYS}},
    ]  # fmt: skip
    net = {
        "location": section.region,
        "properties": {"addressSpace": {"addressPrefixes": [_BLOCK]}, "subnets": subnets},
    }
    what = f"a network, {_BLOCK}: machines in {_MACHINES}, the gateway in {_GATEWAYS}"
    made = (
        part(naming, FIREWALL, "Microsoft.Network/networkSecurityGroups",
             "a network security group: the machines answer nobody but the gateway",
             _firewall(section)),
        part(naming, ADDRESS, addresses, "a fixed public address", {**address, **zones}),
        part(naming, OUT, addresses, "the address by which machines reach outside", address,
             called=f"{naming.name}-out"),
        part(naming, NAT, nats, "their way outside", out, OUT),
        part(naming, NETWORK, "Microsoft.Network/virtualNetworks", what, net, NAT),
    )  # fmt: skip
    paid = {ADDRESS: "address", OUT: "address", NAT: "nat"}
    return tuple(
        msgspec.structs.replace(each, price=price_of("azure", section.region, paid[each.id]))
        if each.id in paid else each
        for each in made
    )  # fmt: skip


def _firewall(section: AzureSection) -> dict[str, Any]:
    def rule(name: str, priority: int, access: str, source: str, port: str) -> dict[str, Any]:
        return {
            "name": name,
            "properties": {
                "priority": priority, "direction": "Inbound", "access": access,
                "protocol": "*" if port == "*" else "Tcp", "sourceAddressPrefix": source,
                "sourcePortRange": "*", "destinationAddressPrefix": "*",
                "destinationPortRange": port,
            },
        }  # fmt: skip

    rules = [
        rule("gateway", 100, "Allow", _GATEWAYS, str(PORT)), rule("rest", 4096, "Deny", "*", "*"),
    ]  # fmt: skip
    return {"location": section.region, "properties": {"securityRules": rules}}


def _storing(naming: Naming, section: AzureSection) -> tuple[Resource, ...]:
    body = {
        "location": section.region, "sku": {"name": "Standard_LRS"}, "kind": "StorageV2",
        "tags": naming.tags(STORE),
        "properties": {
            "allowBlobPublicAccess": False, "allowSharedKeyAccess": False,
            "minimumTlsVersion": "TLS1_2", "supportsHttpsTrafficOnly": True,
        },
    }  # fmt: skip
    return (
        part(naming, IDENTITY, _IDENTITIES, "an identity for the machines",
             {"location": section.region}, called=f"{naming.name}-machines"),
        Resource(
            id=STORE, what="a storage account for releases, closed to the public, without keys",
            path=store_of(naming), kind=_ACCOUNTS, body=body, needs=(GROUP,),
            price=stored("azure", section.region),
        ),
        Resource(
            id=RELEASES, what="its container", kind=f"{_ACCOUNTS}/blobServices/containers",
            path=container_of(naming), body={"properties": {"publicAccess": "None"}},
            needs=(STORE,),
        ),
        _right(naming, READS, _READER, IDENTITY, "ServicePrincipal"),
        _right(naming, WRITES, _CONTRIBUTOR, "", "${signed-in.type}"),
    )  # fmt: skip


def _right(naming: Naming, name: str, role: str, whose: str, kind: str) -> Resource:
    """What an identity, or who makes it, may do with releases, and with nothing else."""
    principal = f"${{{whose}.principal}}" if whose else "${signed-in.id}"
    word = "reads" if role == _READER else "writes"
    whom = {IDENTITY: "the machines", CI: "the pipeline"}.get(whose, "whoever makes it")
    number = uuid.uuid5(uuid.NAMESPACE_URL, f"{container_of(naming).lower()}/{name}")
    return Resource(
        id=name, what=f"who {word} releases: {whom}", kind=_RIGHTS,
        path=f"{container_of(naming)}/providers/{_RIGHTS}/{number}",
        body=_assignment(naming, role, principal, kind),
        needs=(RELEASES, *((whose,) if whose else ())),
    )  # fmt: skip


def _assignment(naming: Naming, role: str, principal: str, kind: str) -> dict[str, Any]:
    roles = f"/subscriptions/{naming.subscription}/providers/Microsoft.Authorization"
    properties = {
        "roleDefinitionId": f"{roles}/roleDefinitions/{role}", "principalId": principal,
        "principalType": kind,
    }  # fmt: skip
    return {"properties": properties}


def _key(naming: Naming, section: AzureSection) -> tuple[Resource, ...]:
    """The gateway reads its certificate as an identity that may read nothing else."""
    if section.certificate is None:
        return ()
    return (
        part(naming, KEYS, _IDENTITIES, "an identity for the gateway",
             {"location": section.region}, called=f"{naming.name}-gateway"),
        Resource(
            id=KEY_RIGHT, what="what it may: read the certificate", kind=_RIGHTS, needs=(KEYS,),
            path=key_right_of(naming, section.certificate),
            body=_assignment(naming, _SECRETS_USER, f"${{{KEYS}.principal}}", "ServicePrincipal"),
        ),
    )  # fmt: skip


def _alarms(naming: Naming, section: AzureSection, project: Project) -> tuple[Resource, ...]:
    """Those of `[monitor]` whose metrics the gateway has, and a dashboard of them."""
    balancer = gateway_of(naming)
    place = Place(model=naming.model, balancer=balancer, fleet=naming.deployment)
    on = alarm_documents(project, place)
    return (
        notices(naming, section), *alerts(naming, on, balancer, GATEWAY),
        dashboard(naming, section.region, GROUP, on, {KIND: balancer, SETS: ""}, GATEWAY),
    )  # fmt: skip
