"""Keys of Azure and Google: they sign and seal, and never leave their service."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from roadworthy.bundle import keys, sealing, verify
from roadworthy.bundle.keys import open_signer
from roadworthy.bundle.kms import is_service_key, open_service_key
from roadworthy.bundle.sign import sign_bundle
from roadworthy.errors import CheckFailed, InputError, OutsideError
from tests.bundle.key_services import (
    GOOGLE,
    Google,
    Vault,
    answering,
    machine_identity,
    service_account,
    token_of_google,
)
from tests.bundle.test_sealing import opened, sealed
from tests.registry.bundles import make_bundle
from tests.serve.test_guard import certificate


@pytest.fixture
def vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vault]:
    """A vault behind TLS, on a machine whose identity may use it."""
    certificate(tmp_path, "vault")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "vault.pem", tmp_path / "vault.key")
    vault = Vault()
    identity = ("X-IDENTITY-HEADER", "secret of the machine")
    with (
        answering(vault.answer, context) as port,
        answering(machine_identity, None, identity) as at,
    ):
        vault.port = port
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "vault.pem"))
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{at}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", identity[1])
        monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
        yield vault


@pytest.fixture
def google(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Google]:
    """Cloud KMS, and a service account that may use it."""
    google = Google()
    with answering(google.answer) as port, answering(token_of_google, None, None) as tokens:
        account = service_account(tmp_path, f"http://127.0.0.1:{tokens}/token")
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(account))
        monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS", f"http://127.0.0.1:{port}")
        yield google


def signs_and_is_trusted(reference: str, folder: Path) -> None:
    bundle = make_bundle(folder)
    signer = open_signer(reference)
    sign_bundle(bundle, signer)
    verify(bundle, trusted_keys=[keys.public_pem(signer.public_key).decode()])
    verify(bundle, trusted_keys=[reference])
    (bundle / "contract.json").write_bytes(b"{}")
    with pytest.raises(CheckFailed):
        verify(bundle, trusted_keys=[reference])


def test_a_vault_of_azure_signs_and_seals(
    vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signs_and_is_trusted(f"azurekms://localhost:{vault.port}/signs", tmp_path)
    seals = f"azurekms:localhost:{vault.port}/seals"
    closed = sealed(b"content", seals)
    with pytest.raises(InputError, match="no key at hand opens"):
        opened(closed)  # a file must not choose whom we call
    monkeypatch.setenv(sealing.IDENTITY, seals)
    assert opened(closed) == b"content"
    vault.rotate()
    assert opened(closed) == b"content"
    newer = sealed(b"newer", seals)
    assert (opened(newer), opened(closed)) == (b"newer", b"content")
    vault.rsa.pop("0a1b")
    with pytest.raises(OutsideError, match=r"refused \(unwrapkey\): 404"):
        opened(closed)


def test_cloud_kms_of_google_signs_and_seals(
    google: Google, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signs_and_is_trusted(f"gcpkms://{GOOGLE}/signs/cryptoKeyVersions/3", tmp_path)
    with pytest.raises(InputError, match="named with its version"):
        _ = open_signer(f"gcpkms:{GOOGLE}/signs").public_key
    seals = f"gcpkms:{GOOGLE}/seals"
    closed = sealed(b"content", seals)
    with pytest.raises(InputError, match="no key at hand opens"):
        opened(closed)
    monkeypatch.setenv(sealing.IDENTITY, seals)
    assert opened(closed) == b"content"
    with pytest.raises(OutsideError, match=r"refused \(decrypt\): 400"):
        open_service_key(seals).unwrap(b"another thing, of twenty bytes and more")


def test_what_the_services_refuse_is_said(vault: Vault, google: Google) -> None:
    with pytest.raises(OutsideError, match=r"Azure Key Vault refused \(get\): 404"):
        _ = open_signer(f"azurekms:localhost:{vault.port}/other").public_key
    with pytest.raises(OutsideError, match=r"Google Cloud KMS refused \(encrypt\): 404"):
        sealed(b"content", f"gcpkms:{GOOGLE}/other")
    with pytest.raises(InputError, match="the key cannot sign here"):
        _ = open_signer(f"azurekms:localhost:{vault.port}/seals").public_key


@pytest.mark.parametrize(
    "reference",
    [
        "azurekms:", "azurekms://vault.azure.net", "azurekms:vault.evil.example/key",
        "azurekms:myvault.azure.net.evil.example/key", "azurekms:a.vault.azure.net/key/1/2",
        "gcpkms:", "gcpkms:projects/p/keys/k", "gcpkms:projects/p/locations/l/keyRings/r",
    ],
)  # fmt: skip
def test_a_reference_that_names_no_key_is_refused(reference: str) -> None:
    """Nobody else than a vault is ever given a token of one."""
    assert is_service_key(reference)
    with pytest.raises(InputError, match="no key of"):
        open_service_key(reference)
