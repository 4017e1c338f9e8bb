"""A registry beside a deployment as resources of Terraform's provider `hashicorp/google`.

The database's password is made up while Terraform runs, put into Secret Manager, and read from
there for the database: it is in no document, no plan and no state (ephemeral resources and
write-only arguments, https://developer.hashicorp.com/terraform/language/manage-sensitive-data).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from roadworthy.deploy.cloud.terraform import Resources
from roadworthy.deploy.gcp.private import ENDPOINT
from roadworthy.deploy.gcp.registry import DATABASE, NAME
from roadworthy.deploy.gcp.resource import Naming, Resource
from roadworthy.deploy.gcp.terraform_words import snake

_PASSWORD = "google_secret_manager_secret_version.password"
_GIVEN = "1"
"""Which password it is: a write-only argument is sent again when this is another."""


def with_registry(document: dict[str, Any], parts: Mapping[str, Resource]) -> dict[str, Any]:
    """The document with the password of the database that it makes, when it makes one.

    Args:
        document: What Terraform reads.
        parts: The parts, by id.
    """
    if DATABASE not in parts:
        return document
    settings = document["terraform"]
    random = {"source": "hashicorp/random", "version": ">= 3.7.1"}
    providers = settings["required_providers"]
    google = providers["google"] | {"version": ">= 7.0"}
    database = "${google_sql_database_instance.database.public_ip_address}"
    if ENDPOINT in parts:
        database = "${google_compute_address.database_address.address}"
    registry = {
        "url": f"postgresql://{NAME}@{database}:5432/{NAME}?sslmode=require",
        "store": "gs://${google_storage_bucket.models.name}",
        "secret": f"${{{_PASSWORD}.name}}",
    }
    return document | {
        "terraform": {
            "required_version": ">= 1.11",
            "required_providers": providers | {"google": google, "random": random},
        },
        "ephemeral": {
            "random_password": {"password": {"length": 64, "special": False}},
            # its number is known when it is there, so it is not looked for before that
            "google_secret_manager_secret_version": {
                "password": {
                    "secret": "${google_secret_manager_secret.password.secret_id}",
                    "version": f"${{{_PASSWORD}.version}}",
                }
            },
        },
        "output": document["output"] | {"registry": {"value": registry}},
    }


def _secret(part: Resource, naming: Naming) -> Resources:
    # what Secret Manager calls automatic when it is asked is `auto` for Terraform
    assert part.body["replication"] == {"automatic": {}}
    return {
        "google_secret_manager_secret.password": {
            "secret_id": part.name, "replication": {"auto": {}},
        },
        _PASSWORD: {
            "secret": "${google_secret_manager_secret.password.id}",
            "secret_data_wo": "${ephemeral.random_password.password.result}",
            "secret_data_wo_version": _GIVEN,
        },
    }  # fmt: skip


def _database(part: Resource, naming: Naming) -> Resources:
    told = part.body["settings"]
    backups, reached = told["backupConfiguration"], told["ipConfiguration"]
    kept = snake(backups["backupRetentionSettings"])
    settings: dict[str, Any] = {
        "tier": told["tier"],
        "edition": told["edition"],
        "activation_policy": told["activationPolicy"],
        "disk_type": told["dataDiskType"],
        "disk_size": int(told["dataDiskSizeGb"]),
        "disk_autoresize": told["storageAutoResize"],
        "backup_configuration": {"enabled": backups["enabled"], "backup_retention_settings": kept},
        "ip_configuration": {
            "ipv4_enabled": reached["ipv4Enabled"],
            "ssl_mode": reached["sslMode"],
            "authorized_networks": reached["authorizedNetworks"],
        },
    }
    if "pscConfig" in reached:
        settings["ip_configuration"]["psc_config"] = [snake(reached["pscConfig"])]
    password = f"${{ephemeral.{_PASSWORD}.secret_data}}"
    arguments = {
        "name": part.body["name"],
        "region": part.body["region"],
        "database_version": part.body["databaseVersion"],
        "root_password_wo": password,
        "root_password_wo_version": _GIVEN,
        "settings": settings,
        "deletion_protection": True,  # what is in it cannot be made again
        # a disk grows by itself
        "lifecycle": {"ignore_changes": ["settings[0].disk_size"]},
    }
    return {"google_sql_database_instance.database": arguments}


REGISTRY_KINDS: dict[str, Callable[[Resource, Naming], Resources]] = {
    "secrets": _secret,
    "databaseInstances": _database,
}
