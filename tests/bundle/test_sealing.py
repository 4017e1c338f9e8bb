"""Sealed bundles: opened by who may, and by no one when a bit is not as it was."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roadworthy.bundle import Bundle, keys, sealing, verify
from roadworthy.bundle.sealing import seal, unseal
from roadworthy.errors import CheckFailed, InputError, OutsideError
from roadworthy.registry.exporting import export
from tests.bundle.test_signature import make_key
from tests.registry.bundles import make_bundle

CHUNK = 1 << 20
WRONG = (CheckFailed, InputError)


@pytest.fixture
def owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The public key of who may open; the private one is in the environment."""
    private, public = make_key(tmp_path, "ops", "x25519")
    monkeypatch.setenv(sealing.IDENTITY, private)
    return public


def sealed(content: bytes, *recipients: str) -> bytes:
    target = io.BytesIO()
    seal(io.BytesIO(content), target, recipients)
    return target.getvalue()


def opened(content: bytes) -> bytes:
    target = io.BytesIO()
    unseal(io.BytesIO(content), target)
    return target.getvalue()


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_any_size_comes_back(owner: str, size: int) -> None:
    content = os.urandom(size)
    closed = sealed(content, owner)
    assert opened(closed) == content
    assert content[:32] not in closed or size < 8
    assert sealed(content, owner) != closed  # a fresh key every time


def test_a_sealed_bundle_predicts_like_its_folder(owner: str, tmp_path: Path) -> None:
    folder = make_bundle(tmp_path)
    for name, recipients in (("grades.rwb", []), ("grades.rwb.sealed", [owner])):
        export(folder, tmp_path / name, recipients)
        bundle = Bundle(tmp_path / name)
        bundle.check_golden()
        assert bundle.version == Bundle(folder).version
    assert b"plan.json" not in (tmp_path / "grades.rwb.sealed").read_bytes()


def test_a_passphrase_opens_and_another_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(sealing.IDENTITY, raising=False)
    with pytest.raises(InputError, match="no passphrase"):
        sealed(b"content", "passphrase")
    monkeypatch.setenv(sealing.PASSPHRASE, "correct horse")
    closed = sealed(b"content", "passphrase")
    assert opened(closed) == b"content"
    monkeypatch.setenv(sealing.PASSPHRASE, "battery staple")
    with pytest.raises(CheckFailed, match="passphrase is wrong"):
        opened(closed)
    monkeypatch.delenv(sealing.PASSPHRASE)
    with pytest.raises(InputError, match="no key at hand opens"):
        opened(closed)


def test_each_of_several_recipients_opens(
    owner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, other_public = make_key(tmp_path, "other", "x25519")
    closed = sealed(b"content", other_public, owner)
    assert opened(closed) == b"content"
    monkeypatch.setenv(sealing.IDENTITY, other)
    assert opened(closed) == b"content"
    stranger, _ = make_key(tmp_path, "stranger", "x25519")
    monkeypatch.setenv(sealing.IDENTITY, stranger)
    with pytest.raises(InputError, match="no key at hand opens"):
        opened(closed)


def test_a_key_service_wraps_and_only_a_listed_one_is_asked(
    aws: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3

    monkeypatch.delenv(sealing.IDENTITY, raising=False)
    made = boto3.client("kms").create_key()
    reference = f"awskms:{made['KeyMetadata']['KeyId']}"
    closed = sealed(b"content", reference)
    with pytest.raises(InputError, match="no key at hand opens"):
        opened(closed)  # a file must not choose whom we call
    monkeypatch.setenv(sealing.IDENTITY, reference)
    assert opened(closed) == b"content"
    with pytest.raises(OutsideError, match="AWS KMS refused"):
        sealed(b"content", "awskms:alias/none")


def test_wrong_recipients_are_said(tmp_path: Path) -> None:
    _, signing = make_key(tmp_path, "sign")
    for recipients, words in (
        ([], "nobody"),
        ([signing], "cannot seal"),
        ([str(tmp_path / "none.pub")], "cannot be read"),
    ):
        with pytest.raises(InputError, match=words):
            sealed(b"content", *recipients)


def test_chunks_cut_off_swapped_repeated_or_added_are_noticed(owner: str) -> None:
    closed = sealed(os.urandom(3 * CHUNK), owner)
    piece = CHUNK + 16
    start = len(closed) - 3 * piece
    head, chunks = closed[:start], [closed[start + i * piece :][:piece] for i in range(3)]
    for wrong in (
        chunks[:2], chunks[:1], [], chunks[1:], [*chunks, chunks[2]], [*chunks, b"x"],
        [chunks[1], chunks[0], chunks[2]], [chunks[0], chunks[0], chunks[2]],
        [*chunks[:2], chunks[2][:-1]], [*chunks[:2], b""],
    ):  # fmt: skip
        with pytest.raises(CheckFailed):
            opened(head + b"".join(wrong))


SMALL = b"what is inside" * 10


@given(st.data())
@settings(
    max_examples=300, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
def test_no_flipped_bit_and_no_cut_is_ever_accepted(owner: str, data: st.DataObject) -> None:
    closed = bytearray(sealed(SMALL, owner))
    if data.draw(st.booleans()):
        position = data.draw(st.integers(0, len(closed) - 1))
        closed[position] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del closed[data.draw(st.integers(0, len(closed) - 1)) :]
    with pytest.raises(WRONG):
        opened(bytes(closed))


@given(st.binary(max_size=200))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_refused_with_a_clear_error(owner: str, content: bytes) -> None:
    for start in (b"", sealing.MAGIC, sealing.MAGIC + len(content).to_bytes(4, "big")):
        with pytest.raises(WRONG):
            opened(start + content)


def test_a_large_bundle_passes_in_memory_that_does_not_grow_with_it(tmp_path: Path) -> None:
    program = """
import hashlib, os, sys
from pathlib import Path
from roadworthy.bundle import keys, sealing, verify
from roadworthy.registry.exporting import export
from tests.registry.bundles import make_bundle

folder = Path(sys.argv[1])
folder.mkdir()
private, public = keys.generate("x25519")
(folder / "k").write_bytes(private), (folder / "k.pub").write_bytes(public)
os.environ[sealing.IDENTITY] = str(folder / "k")
bundle = make_bundle(folder)
large = bundle / "model.bin"
with large.open("wb") as file:
    file.truncate(int(sys.argv[2]))
from roadworthy.bundle import manifest
import msgspec
state = hashlib.sha256()
with large.open("rb") as file:
    while part := file.read(1 << 20):
        state.update(part)
old = msgspec.json.decode((bundle / "manifest.json").read_bytes(), type=manifest.Manifest)
files = {**old.files, "model.bin": manifest.FileEntry(state.hexdigest(), int(sys.argv[2]))}
new = msgspec.structs.replace(old, files=files)
new = msgspec.structs.replace(new, version=manifest.content_version(new))
(bundle / "manifest.json").write_bytes(manifest.to_json(new))
export(bundle, folder / "large.rwb.sealed", [str(folder / "k.pub")])
verify(folder / "large.rwb.sealed")
status = Path("/proc/self/status").read_text()
print(int(status.partition("VmHWM:")[2].split()[0]) // 1024)
"""
    peaks = []
    for size in (1 << 24, 1 << 30):
        run = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / str(size)), str(size)],
            capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=900,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        peaks.append(int(run.stdout))
    assert peaks[1] < peaks[0] + 50  # megabytes, for 1 GB against 16 MB


def test_the_header_says_for_whom_without_a_key(owner: str) -> None:
    closed = sealed(b"content", owner)
    found = sealing.read_recipients(io.BytesIO(closed))
    assert [each.key for each in found] == [keys.fingerprint(keys.read_public_key(owner))]
    with pytest.raises(CheckFailed, match="not a sealed bundle"):
        sealing.read_recipients(io.BytesIO(b"PK\x03\x04 and so on"))


def test_nothing_that_is_opened_stays_on_disk(
    owner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    export(make_bundle(tmp_path), tmp_path / "grades.rwb.sealed", [owner])
    verify(tmp_path / "grades.rwb.sealed")
    assert list(folder.iterdir()) == []
