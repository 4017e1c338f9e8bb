"""Blobs in real stores: a folder, S3 (moto's server), Azure (Azurite).

Google's emulator does not take uploads by the XML API that obstore uses, so only reading is tested
against it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import urllib.request
from pathlib import Path

import pytest

from roadworthy.bundle import Bundle
from roadworthy.errors import CheckFailed, OutsideError
from roadworthy.registry import Reference, resolve
from roadworthy.registry.collecting import collect
from roadworthy.registry.opening import open_registry
from roadworthy.registry.registering import register
from roadworthy.registry.stores import BlobStore, ObjectStore, open_store
from tests.registry.bundles import make_bundle
from tests.registry.conftest import registry_project

AZURITE_ACCOUNT = "devstoreaccount1"
# The key that Azurite's documentation publishes for its one account.
AZURITE_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)


@pytest.fixture(params=["folder", "s3", "azure"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a store that is there."""
    prefix = tmp_path.name.replace("_", "-").lower()
    if request.param == "folder":
        return str(tmp_path / "store")
    if request.param == "s3":
        import boto3

        request.getfixturevalue("aws")
        location = {"LocationConstraint": "eu-central-1"}
        boto3.client("s3").create_bucket(Bucket=prefix, CreateBucketConfiguration=location)
        return f"s3://{prefix}/models"
    return azure(request.getfixturevalue("azurite"), prefix, monkeypatch)


def azure(url: str, container: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", AZURITE_ACCOUNT)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", AZURITE_KEY)
    monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", f"{url}/{AZURITE_ACCOUNT}")
    import base64
    import datetime
    import hmac

    date = datetime.datetime.now(datetime.UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    headers = {"x-ms-date": date, "x-ms-version": "2021-12-02", "Content-Length": "0"}
    canonical = "\n".join(
        ["PUT", *[""] * 11, f"x-ms-date:{date}", "x-ms-version:2021-12-02",
         f"/{AZURITE_ACCOUNT}/{AZURITE_ACCOUNT}/{container}", "restype:container"]
    )  # fmt: skip
    mac = hmac.new(base64.b64decode(AZURITE_KEY), canonical.encode(), hashlib.sha256).digest()
    signature = base64.b64encode(mac).decode()
    headers["Authorization"] = f"SharedKey {AZURITE_ACCOUNT}:{signature}"
    request = urllib.request.Request(
        f"{url}/{AZURITE_ACCOUNT}/{container}?restype=container", method="PUT", headers=headers
    )
    urllib.request.urlopen(request, timeout=10).close()
    return f"az://{container}/models"


def google(url: str, bucket: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    body = json.dumps({"name": bucket}).encode()
    request = urllib.request.Request(
        f"{url}/storage/v1/b?project=p", body, {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request, timeout=10).close()
    account = {
        "gcs_base_url": url, "disable_oauth": True,
        "client_email": "", "private_key": "", "private_key_id": "",
    }  # fmt: skip
    (folder / "account.json").write_text(json.dumps(account))
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", str(folder / "account.json"))
    return f"gs://{bucket}/models"


def name(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def got(store: BlobStore, digest: str) -> bytes:
    target = io.BytesIO()
    store.get(digest, target)
    return target.getvalue()


@pytest.mark.parametrize("size", [0, 10, 20 << 20])
def test_a_blob_comes_back_from_every_store(place: str, size: int) -> None:
    store = open_store(place)
    content = os.urandom(size)
    digest = name(content)
    assert store.size(digest) is None
    for _ in range(2):  # the second time changes nothing
        store.put(digest, io.BytesIO(content))
    assert store.size(digest) == size
    assert got(store, digest) == content
    assert [(blob.digest, blob.size) for blob in store.blobs()] == [(digest, size)]
    store.delete(digest)
    store.delete(digest)
    assert store.size(digest) is None
    with pytest.raises(CheckFailed, match="not in the store"):
        got(store, digest)


def test_blobs_are_read_from_google(
    google_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(google(google_server, "bucket", tmp_path, monkeypatch))
    content = os.urandom(3 << 20)
    digest = name(content)
    assert store.size(digest) is None
    upload = f"{google_server}/upload/storage/v1/b/bucket/o?uploadType=media"
    request = urllib.request.Request(f"{upload}&name=models/{digest}", content)
    urllib.request.urlopen(request, timeout=10).close()
    assert store.size(digest) == len(content)
    assert got(store, digest) == content
    assert [(blob.digest, blob.size) for blob in store.blobs()] == [(digest, len(content))]
    with pytest.raises(CheckFailed, match="not in the store"):
        got(store, name(b"another"))


def test_a_model_is_kept_in_every_store(place: str, tmp_path: Path) -> None:
    project = registry_project(tmp_path, store=place)
    with open_registry(project) as registry:
        one = register(registry, make_bundle(tmp_path, 1))[0]
        register(registry, make_bundle(tmp_path, 2))
        registry.promote(Reference("grades", one.version))
        registry.store.put("ab" * 32, io.BytesIO(b"left behind by an upload"))
        assert collect(registry, grace_hours=0).blobs == 1
        assert collect(registry, keep=1, grace_hours=0).versions == ()
    assert Bundle(resolve("grades@champion", project)).version == one.version


def test_a_store_out_of_reach_is_said_and_nothing_is_registered(
    aws: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = registry_project(tmp_path, store="s3://no-such-bucket/models")
    with open_registry(project) as registry:
        with pytest.raises(OutsideError, match="store cannot be used"):
            register(registry, make_bundle(tmp_path))
        assert registry.versions() == []
        assert registry.history() == []


def test_plain_http_is_taken_for_an_emulator_on_this_machine_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://storage.example:9000")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    with pytest.raises(OutsideError) as caught:
        ObjectStore("s3://bucket").size("ab")
    assert "store cannot be used" in caught.value.what


def test_what_a_killed_upload_left_in_a_folder_is_no_blob_and_goes_after_a_day(
    tmp_path: Path,
) -> None:
    store = open_store(str(tmp_path))
    draft = tmp_path / "ab" / ".draft-1"
    draft.parent.mkdir()
    draft.write_bytes(b"half")
    assert list(store.blobs()) == []
    assert draft.exists()
    os.utime(draft, (0, 0))
    assert list(store.blobs()) == []
    assert not draft.exists()
