"""Rules for bodies of Azure requests, drawn from the models of Microsoft's own libraries.

`rules.json` beside this file is what `python -m tests.deploy.azure.rules` wrote where these were
installed: azure-mgmt-compute 34.1.0, azure-mgmt-network 28.1.0, azure-mgmt-monitor 7.0.0,
azure-mgmt-msi 7.0.0, azure-mgmt-authorization 4.0.0, azure-mgmt-storage 22.1.1,
azure-mgmt-applicationinsights 4.1.0, azure-mgmt-privatedns 1.2.0 and
azure-mgmt-postgresqlflexibleservers 1.0.0, copyright Microsoft Corporation, MIT licence. Only what
deployments use was followed; a property that is not described is refused.
"""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("rules.json")
_SCALARS = {"str", "int", "bool", "float", "iso-8601", "duration", "object"}
_SERVERS = "Microsoft.DBforPostgreSQL/flexibleServers"
_ACCOUNTS = "Microsoft.Storage/storageAccounts"
_IDENTITIES = "Microsoft.ManagedIdentity/userAssignedIdentities"
_ROOTS = {
    "Microsoft.Compute/virtualMachines@2024-11-01": "compute.v2024_11_01 VirtualMachine",
    "Microsoft.Network/virtualNetworks@2024-05-01": "network VirtualNetwork",
    "Microsoft.Network/networkSecurityGroups@2024-05-01": "network NetworkSecurityGroup",
    "Microsoft.Network/publicIPAddresses@2024-05-01": "network PublicIPAddress",
    "Microsoft.Network/networkInterfaces@2024-05-01": "network NetworkInterface",
    "Microsoft.Insights/metricAlerts@2018-03-01": "monitor MetricAlertResource",
    "Microsoft.Insights/actionGroups@2023-01-01": "monitor ActionGroupResource",
    "Microsoft.Insights/workbooks@2023-06-01": "applicationinsights.v2023_06_01 Workbook",
    "Microsoft.Compute/virtualMachineScaleSets@2024-11-01": "compute.v2024_11_01 "
    "VirtualMachineScaleSet",
    "Microsoft.Network/natGateways@2024-05-01": "network NatGateway",
    "Microsoft.Network/privateEndpoints@2024-05-01": "network PrivateEndpoint",
    "Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2024-05-01": "network "
    "PrivateDnsZoneGroup",
    "Microsoft.Network/privateDnsZones@2024-06-01": "privatedns PrivateZone",
    "Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01": "privatedns "
    "VirtualNetworkLink",
    "Microsoft.Network/applicationGateways@2024-05-01": "network ApplicationGateway",
    "Microsoft.Insights/autoscaleSettings@2022-10-01": "monitor AutoscaleSettingResource",
    f"{_IDENTITIES}@2023-01-31": "msi Identity",
    f"{_IDENTITIES}/federatedIdentityCredentials@2023-01-31": "msi FederatedIdentityCredential",
    "Microsoft.Authorization/roleAssignments@2022-04-01": "authorization.v2022_04_01 "
    "RoleAssignmentCreateParameters",
    f"{_SERVERS}@2024-08-01": "postgresqlflexibleservers Server",
    f"{_SERVERS}/databases@2024-08-01": "postgresqlflexibleservers Database",
    f"{_SERVERS}/firewallRules@2024-08-01": "postgresqlflexibleservers FirewallRule",
    f"{_SERVERS}/administrators@2024-08-01": "postgresqlflexibleservers "
    "ActiveDirectoryAdministratorAdd",
    f"{_SERVERS}/change@2024-08-01": "postgresqlflexibleservers ServerForUpdate",
    f"{_ACCOUNTS}@2024-01-01": "storage.v2024_01_01 StorageAccountCreateParameters",
    f"{_ACCOUNTS}/blobServices/containers@2024-01-01": "storage.v2024_01_01 BlobContainer",
}
_FOLLOWED = {
    "VirtualMachine", "HardwareProfile", "StorageProfile", "ImageReference", "OSDisk",
    "ManagedDiskParameters", "OSProfile", "LinuxConfiguration", "SshConfiguration",
    "SshPublicKey", "NetworkProfile", "NetworkInterfaceReference", "SecurityProfile",
    "UefiSettings", "DiagnosticsProfile", "BootDiagnostics", "VirtualMachineIdentity",
    "VirtualNetwork", "AddressSpace", "Subnet", "NetworkSecurityGroup", "SecurityRule",
    "PublicIPAddress", "PublicIPAddressSku", "NetworkInterface",
    "NetworkInterfaceIPConfiguration", "SubResource", "MetricAlertResource",
    "MetricAlertCriteria", "MetricAlertSingleResourceMultipleMetricCriteria", "MetricCriteria",
    "MetricDimension", "MetricAlertAction", "ActionGroupResource", "EmailReceiver", "Identity",
    "FederatedIdentityCredential", "RoleAssignmentCreateParameters", "Server", "ServerForUpdate",
    "Database", "FirewallRule", "ActiveDirectoryAdministratorAdd", "AuthConfig", "Sku", "Storage",
    "Backup", "Network", "VirtualMachineScaleSet", "VirtualMachineScaleSetVMProfile",
    "VirtualMachineScaleSetOSProfile", "VirtualMachineScaleSetStorageProfile",
    "VirtualMachineScaleSetOSDisk", "VirtualMachineScaleSetManagedDiskParameters",
    "VirtualMachineScaleSetNetworkProfile", "VirtualMachineScaleSetNetworkConfiguration",
    "VirtualMachineScaleSetIPConfiguration", "VirtualMachineScaleSetExtensionProfile",
    "VirtualMachineScaleSetExtension", "VirtualMachineScaleSetIdentity", "ApiEntityReference",
    "UserAssignedIdentitiesValue", "UpgradePolicy", "AutomaticRepairsPolicy", "NatGateway",
    "NatGatewaySku", "ApplicationGateway", "ApplicationGatewaySku", "ManagedServiceIdentity",
    "ApplicationGatewayAutoscaleConfiguration", "ApplicationGatewaySslPolicy",
    "ApplicationGatewaySslCertificate", "ApplicationGatewayIPConfiguration",
    "ApplicationGatewayFrontendIPConfiguration", "ApplicationGatewayFrontendPort",
    "ApplicationGatewayHttpListener", "ApplicationGatewayRequestRoutingRule",
    "ApplicationGatewayProbe", "ApplicationGatewayProbeHealthResponseMatch",
    "ApplicationGatewayBackendHttpSettings", "ApplicationGatewayConnectionDraining",
    "ApplicationGatewayBackendAddressPool", "ApplicationGatewayUrlPathMap",
    "ApplicationGatewayPathRule", "AutoscaleSettingResource", "AutoscaleProfile", "ScaleCapacity",
    "ScaleRule", "MetricTrigger", "ScaleAction",
    "Components1Jq1T4ISchemasManagedserviceidentityPropertiesUserassignedidentitiesAdditionalproperties",
    "StorageAccountCreateParameters", "BlobContainer", "Workbook",
    "PrivateEndpoint", "PrivateLinkServiceConnection", "PrivateDnsZoneGroup",
    "PrivateDnsZoneConfig", "PrivateZone", "VirtualNetworkLink",
}  # fmt: skip


def main() -> None:
    """Write the rules."""
    found: dict[str, Any] = {"types": {}, "models": {}}
    for kind, root in _ROOTS.items():
        package, name = root.split()
        found["types"][kind] = f"{package} {name}"
        _follow(package, name, found["models"])
    FILE.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


def _follow(package: str, name: str, models: dict[str, Any]) -> None:
    key = f"{package} {name}"
    if key in models:
        return
    model = getattr(importlib.import_module(f"azure.mgmt.{package}.models"), name)
    models[key] = rule = {"properties": {}}
    children = getattr(model, "_subtype_map", {})
    attributes = model._attribute_map
    for attribute, told in attributes.items():
        limits = model._validation.get(attribute, {})
        inner = told["type"].strip("[]{}")
        known = inner in _SCALARS or inner in _FOLLOWED
        if not (known and told["key"]) or (limits.get("readonly") and not limits.get("required")):
            continue
        *outer, last = (part.replace("\\", "") for part in re.split(r"(?<!\\)\.", told["key"]))
        place = rule
        for part in outer:
            place = place["properties"].setdefault(part, {"type": "nested", "properties": {}})
        place["properties"][last] = {
            "type": told["type"],
            **{key: value for key, value in limits.items() if key != "readonly"},
            **({"values": values} if (values := _values(model, attribute)) else {}),
        }
        if inner not in _SCALARS:
            _follow(package, inner, models)
    for attribute, kinds in children.items():
        chosen = {value: kind for value, kind in kinds.items() if kind in _FOLLOWED}
        if chosen:
            word = attributes[attribute]["key"].replace("\\", "")
            rule["by"] = {word: {value: f"{package} {kind}" for value, kind in chosen.items()}}
            for kind in chosen.values():
                _follow(package, kind, models)


def _values(model: type, attribute: str) -> list[str]:
    """Values of an enumeration, which the models tell in words only; the one of sizes is old."""
    if attribute == "vm_size":
        return []
    text = " ".join((model.__doc__ or "").split())
    told = re.search(rf":ivar {attribute}: (.*?):vartype {attribute}:", text)
    listed = re.search(r"Known values are: (.*)", told[1] if told else "")
    return re.findall(r"\"([^\"]+)\"", listed[1]) if listed else []


if __name__ == "__main__":
    main()
