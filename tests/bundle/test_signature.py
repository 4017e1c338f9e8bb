"""Signatures: who made a bundle, known before anything in it is read."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from roadworthy.bundle import Bundle, keys, manifest, verify
from roadworthy.bundle.keys import Kind, open_signer
from roadworthy.bundle.sign import sign_bundle
from roadworthy.errors import CheckFailed, InputError, OutsideError
from tests.registry.bundles import make_bundle


def make_key(folder: Path, name: str = "release", kind: Kind = "ed25519") -> tuple[str, str]:
    private, public = keys.generate(kind)
    (folder / f"{name}.key").write_bytes(private)
    (folder / f"{name}.pub").write_bytes(public)
    return str(folder / f"{name}.key"), str(folder / f"{name}.pub")


@pytest.fixture(params=["ed25519", "ecdsa-p256"])
def signed(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    private, public = make_key(tmp_path, kind=request.param)
    bundle = make_bundle(tmp_path)
    sign_bundle(bundle, open_signer(private))
    return bundle, public


def test_a_bundle_that_a_trusted_key_signed_is_opened(signed: tuple[Path, str]) -> None:
    bundle, public = signed
    Bundle(bundle, trusted_keys=[public]).check_golden()
    Bundle(bundle).check_golden()  # and without trusted keys the signature does no harm


def test_one_of_several_trusted_keys_is_enough_so_that_keys_can_be_rotated(
    signed: tuple[Path, str], tmp_path: Path
) -> None:
    bundle, public = signed
    _, other = make_key(tmp_path, "other")
    verify(bundle, trusted_keys=[other, public])
    with pytest.raises(CheckFailed, match="not signed by a trusted key"):
        verify(bundle, trusted_keys=[other])


def test_a_key_may_be_given_as_text_or_in_the_environment(
    signed: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, public = signed
    text = Path(public).read_text()
    verify(bundle, trusted_keys=[text])
    monkeypatch.setenv("RELEASE_KEY", text)
    verify(bundle, trusted_keys=["env:RELEASE_KEY"])
    with pytest.raises(InputError, match="not set"):
        verify(bundle, trusted_keys=["env:NO_SUCH_KEY"])


def test_an_unsigned_bundle_is_refused_when_keys_are_trusted(tmp_path: Path) -> None:
    _, public = make_key(tmp_path)
    with pytest.raises(CheckFailed, match="not signed"):
        Bundle(make_bundle(tmp_path), trusted_keys=[public])


def test_what_is_wrong_is_refused_before_any_file_is_parsed(
    signed: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bundle, public = signed

    def parsed(*_: object) -> None:
        raise AssertionError("the manifest was parsed")

    monkeypatch.setattr(manifest, "decode_manifest", parsed)
    for name in [file.name for file in bundle.iterdir()]:
        content = (bundle / name).read_bytes()
        (bundle / name).write_bytes(content[:-2] + b"!" + content[-1:])
        with pytest.raises(CheckFailed):
            verify(bundle, trusted_keys=[public])
        (bundle / name).unlink()
        with pytest.raises((CheckFailed, InputError)):
            verify(bundle, trusted_keys=[public])
        (bundle / name).write_bytes(content)
    (bundle / "extra.txt").write_text("x")
    with pytest.raises(CheckFailed, match=r"extra\.txt"):
        verify(bundle, trusted_keys=[public])
    unsigned = make_bundle(tmp_path, 1)
    with pytest.raises(CheckFailed, match="not signed"):
        verify(unsigned, trusted_keys=[public])


def test_a_signature_of_another_bundle_does_not_count(
    signed: tuple[Path, str], tmp_path: Path
) -> None:
    bundle, public = signed
    other = make_bundle(tmp_path, 1)
    (other / "signature.json").write_bytes((bundle / "signature.json").read_bytes())
    with pytest.raises(CheckFailed):
        verify(other, trusted_keys=[public])


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(mediaType="application/x"),
        lambda d: d["dsseEnvelope"].update(payloadType="text/plain"),
        lambda d: d["dsseEnvelope"].update(signatures=[]),
        lambda d: d["dsseEnvelope"].update(payload="e30="),
        lambda d: d["dsseEnvelope"].update(payload="%%%"),
        lambda d: d["dsseEnvelope"]["signatures"][0].update(sig=""),
        lambda d: d["dsseEnvelope"].update(signatures=d["dsseEnvelope"]["signatures"] * 17),
        lambda d: d.pop("dsseEnvelope"),
    ],
)
def test_a_changed_envelope_is_refused(signed: tuple[Path, str], change) -> None:
    bundle, public = signed
    file = bundle / "signature.json"
    document = json.loads(file.read_text())
    change(document)
    file.write_text(json.dumps(document))
    with pytest.raises(CheckFailed):
        verify(bundle, trusted_keys=[public])


@pytest.mark.parametrize("text", ["", "null", "[]", "{", "[" * 100_000, "\x00", '{"a": 1}'])
def test_a_signature_that_is_none_is_refused(signed: tuple[Path, str], text: str) -> None:
    bundle, public = signed
    (bundle / "signature.json").write_text(text)
    with pytest.raises(CheckFailed):
        verify(bundle, trusted_keys=[public])


def test_what_a_trusted_key_signed_must_be_a_list_of_files(tmp_path: Path) -> None:
    from roadworthy.bundle import signature

    private, public = make_key(tmp_path)
    signer = open_signer(private)
    for payload in (b"{}", b"null", b"[]", b'{"_type": "x"}', b"\xff"):
        content = json.loads(signature.sign("m", {"a": "00" * 32}, signer))
        content["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
        made = signer.sign(signature._pae(payload))
        content["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(made).decode()
        with pytest.raises(CheckFailed, match="not a list of files"):
            signature.check_signature(json.dumps(content).encode(), [public])


def test_the_model_signing_package_accepts_what_is_signed_here(tmp_path: Path) -> None:
    from model_signing import verifying

    private, public = make_key(tmp_path, kind="ecdsa-p256")
    bundle = make_bundle(tmp_path)
    sign_bundle(bundle, open_signer(private))
    theirs = verifying.Config().use_elliptic_key_verifier(public_key=public)
    theirs.verify(bundle, bundle / "signature.json")
    (bundle / "plan.json").write_bytes(b"{}")
    with pytest.raises(ValueError, match=r"plan\.json"):
        verifying.Config().use_elliptic_key_verifier(public_key=public).verify(
            bundle, bundle / "signature.json"
        )


def test_what_the_model_signing_package_signs_is_accepted_here(tmp_path: Path) -> None:
    from model_signing import hashing, signing

    private, public = make_key(tmp_path, kind="ecdsa-p256")
    bundle = make_bundle(tmp_path)
    outside = tmp_path / "signature.json"
    config = hashing.Config().set_ignored_paths(paths=[], ignore_git_paths=False)
    theirs = signing.Config().use_elliptic_key_signer(private_key=private)
    theirs.set_hashing_config(config).sign(bundle, outside)
    outside.replace(bundle / "signature.json")
    verify(bundle, trusted_keys=[public])


def test_a_damaged_bundle_is_not_signed(tmp_path: Path) -> None:
    private, _ = make_key(tmp_path)
    bundle = make_bundle(tmp_path)
    (bundle / "plan.json").write_text("{}")
    with pytest.raises(CheckFailed, match=r"plan\.json"):
        sign_bundle(bundle, open_signer(private))
    assert not (bundle / "signature.json").exists()


def test_an_encrypted_key_needs_its_passphrase_from_the_environment_or_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, _ = keys.generate("ed25519", b"correct horse")
    file = tmp_path / "release.key"
    file.write_bytes(private)
    assert b"ENCRYPTED" in private
    with pytest.raises(InputError, match="no passphrase"):
        open_signer(str(file))
    monkeypatch.setenv("ROADWORTHY_KEY_PASSPHRASE", "battery staple")
    with pytest.raises(InputError, match="passphrase is wrong"):
        open_signer(str(file))
    monkeypatch.delenv("ROADWORTHY_KEY_PASSPHRASE")
    (tmp_path / "passphrase").write_text("correct horse\n")
    monkeypatch.setenv("ROADWORTHY_KEY_PASSPHRASE_FILE", str(tmp_path / "passphrase"))
    open_signer(str(file))


def test_wrong_keys_are_said(tmp_path: Path) -> None:
    private, public = make_key(tmp_path)
    sealing, sealing_public = make_key(tmp_path, "seal", "x25519")
    (tmp_path / "text").write_text("hello")
    for reference, words in [
        (sealing, "cannot sign"),
        (str(tmp_path / "none"), "cannot be read"),
        (str(tmp_path), "cannot be read"),
        (str(tmp_path / "text"), "not a private key"),
        (public, "not a private key"),
    ]:
        with pytest.raises(InputError, match=words):
            open_signer(reference)
    for reference, words in [
        (private, "private key where a public key belongs"),
        (sealing_public, "cannot verify"),
        (str(tmp_path / "text"), "not a public key"),
    ]:
        with pytest.raises(InputError, match=words):
            keys.read_verifying_key(reference)
    with pytest.raises(InputError) as caught:
        keys.read_public_key(Path(private).read_text())
    assert "PRIVATE" not in str(caught.value)  # a secret is never repeated


def test_a_key_service_signs_without_giving_the_key_away(
    aws: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3

    made = boto3.client("kms").create_key(KeyUsage="SIGN_VERIFY", KeySpec="ECC_NIST_P256")
    reference = f"awskms:{made['KeyMetadata']['KeyId']}"
    bundle = make_bundle(tmp_path)
    signer = open_signer(reference)
    sign_bundle(bundle, signer)
    verify(bundle, trusted_keys=[keys.public_pem(signer.public_key).decode()])
    verify(bundle, trusted_keys=[reference])
    with pytest.raises(OutsideError, match="AWS KMS refused"):
        _ = open_signer("awskms:alias/none").public_key


def test_verifying_and_showing_load_no_model_runtime(tmp_path: Path) -> None:
    private, public = make_key(tmp_path)
    bundle = make_bundle(tmp_path)
    sign_bundle(bundle, open_signer(private))
    (tmp_path / "roadworthy.toml").write_text(f"[registry]\ntrusted_keys = ['{public}']\n")
    program = """
import sys
from roadworthy.cli import app
for verb in (["models", "verify"], ["models", "show"], ["models", "diff", sys.argv[1]]):
    try:
        app([*verb, sys.argv[1]])
    except SystemExit as end:
        assert end.code in (0, None), end.code
heavy = ("onnxruntime", "onnx", "sklearn", "polars", "sqlalchemy", "obstore")
print("loaded:", [name for name in heavy if name in sys.modules])
"""
    run = subprocess.run(
        [sys.executable, "-c", program, str(bundle)],
        capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip
    assert "signature checked" in run.stdout, run.stderr
    assert run.stdout.splitlines()[-1] == "loaded: []"
