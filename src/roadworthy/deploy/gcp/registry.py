"""A registry beside a deployment: Cloud SQL for PostgreSQL and a bucket, for `[registry]`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from roadworthy.deploy.cloud.prices import price_of, stored
from roadworthy.deploy.cloud.provider import SECLUDED
from roadworthy.deploy.gcp.listing import STORE
from roadworthy.deploy.gcp.private import ADDRESS, ENDPOINT, private_parts
from roadworthy.deploy.gcp.resource import Naming, Resource, Thing, by_hand
from roadworthy.deploy.gcp.wanted import short
from roadworthy.project import GcpSection

DATABASE, SECRET = "gcp-database", "gcp-secret"
NAME = "postgres"
_DAYS = 7
_GIGABYTES = 10
_PASSWORD = "$(gcloud secrets versions access latest --secret={secret} --project={project})"


def store_of(naming: Naming) -> str:
    """The bucket of the registry's blobs; buckets of all projects share their names."""
    return f"{short(naming)}-models-{re.sub('[^a-z0-9-]', '-', naming.project)}"


def registry_parts(naming: Naming, section: GcpSection) -> tuple[Resource, ...]:
    """Password, database and bucket; nothing where none are asked for."""
    if section.database is None:
        return ()
    database = _database(naming, section)
    beside = private_parts(naming, section, database)
    return _secret(naming), database, *beside, _store(naming, section)


def _secret(naming: Naming) -> Resource:
    """Its value is made up when it is made, and is in no document."""
    parent = f"projects/{naming.project}"
    body = {"replication": {"automatic": {}}, "labels": naming.labels(SECRET)}
    url = f"https://secretmanager.googleapis.com/v1/{parent}/secrets?secretId={naming.name}"
    random = "openssl rand -hex 32 | tr -d '\\n'"
    fill = f"{random} | gcloud secrets versions add {naming.name} --data-file=-"
    return Resource(
        id=SECRET, what="the database's password, in Secret Manager and nowhere else",
        collection="secrets", parent=parent, body=body, name=naming.name,
        command=f"{by_hand(url, body)} && {fill} --project={naming.project}",
    )  # fmt: skip


def _database(naming: Naming, section: GcpSection) -> Resource:
    networks, public = dict.fromkeys(section.database_from), section.database_access == "public"
    where = ", ".join(networks) if public else SECLUDED
    settings: dict[str, Any] = {
        "tier": section.database,
        "edition": "ENTERPRISE",
        "activationPolicy": "ALWAYS",
        "dataDiskType": "PD_SSD",
        "dataDiskSizeGb": str(_GIGABYTES),
        "storageAutoResize": True,
        "backupConfiguration": {
            "enabled": True,
            "backupRetentionSettings": {"retentionUnit": "COUNT", "retainedBackups": _DAYS},
        },
        "ipConfiguration": {
            "ipv4Enabled": public,
            "sslMode": "ENCRYPTED_ONLY",
            "authorizedNetworks": [
                {"name": f"network-{number}", "value": each}
                for number, each in enumerate(networks, 1)
            ],
        },
        "userLabels": naming.labels(DATABASE),
    }
    if not public:
        own = {"pscEnabled": True, "allowedConsumerProjects": [naming.project]}
        settings["ipConfiguration"]["pscConfig"] = own
    body = {
        "name": naming.name, "region": section.region, "databaseVersion": "POSTGRES_16",
        "settings": settings,
    }  # fmt: skip
    parent = f"projects/{naming.project}"
    password = _PASSWORD.format(secret=naming.name, project=naming.project)
    line = by_hand(f"https://sqladmin.googleapis.com/v1/{parent}/instances", body)
    login = f"gcloud sql users set-password {NAME} --instance={naming.name}"
    return Resource(
        id=DATABASE,
        what=f"a database of PostgreSQL, {section.database}, encrypted, {_DAYS} days of backups, "
        f"reached with TLS from {where}",
        collection="databaseInstances", parent=parent, body=body, needs=(SECRET,),
        price=price_of("gcp", section.region, f"database {section.database}", _GIGABYTES,
                       of="database"),
        command=f'{line} && {login} --project={naming.project} --password="{password}"',
    )  # fmt: skip


def _store(naming: Naming, section: GcpSection) -> Resource:
    body = {
        "name": store_of(naming),
        "location": section.region.upper(),
        "labels": naming.labels(STORE),
        "iamConfiguration": {
            "uniformBucketLevelAccess": {"enabled": True},
            "publicAccessPrevention": "enforced",
        },
    }
    url = f"https://storage.googleapis.com/storage/v1/b?project={naming.project}"
    return Resource(
        id=STORE, what="a bucket for the registry's models, closed to the public",
        collection="buckets", parent="", body=body, command=by_hand(url, body),
        price=stored("gcp", section.region),
    )  # fmt: skip


def registry_of(found: Mapping[str, Thing]) -> dict[str, str]:
    """What `[registry]` is to say, and where the password is; empty: there is no registry."""
    if not {DATABASE, SECRET, STORE} <= found.keys():
        return {}
    given = found[DATABASE].there.get("ipAddresses") or ()
    address = next((each["ipAddress"] for each in given if each.get("type") == "PRIMARY"), None)
    if ENDPOINT in found and ADDRESS in found:
        address = found[ADDRESS].there.get("address")
    if address is None:
        return {}
    return {
        "url": f"postgresql://{NAME}@{address}:5432/{NAME}?sslmode=require",
        "store": f"gs://{found[STORE].there['name']}",
        "password": f"{found[SECRET].path}/versions/latest",
    }
