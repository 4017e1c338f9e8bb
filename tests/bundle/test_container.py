"""One-file bundles: the same bytes everywhere, and no archive that is up to something."""

from __future__ import annotations

import io
import stat
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roadworthy.bundle import Bundle, verify
from roadworthy.bundle.container import Archive, Folder, pack
from roadworthy.bundle.keys import open_signer
from roadworthy.bundle.sign import sign_bundle
from roadworthy.errors import CheckFailed, InputError, OutsideError
from tests.bundle.test_signature import make_key
from tests.registry.bundles import make_bundle


def packed(folder: Path) -> bytes:
    target = io.BytesIO()
    pack(Folder(folder), target, str(folder))
    return target.getvalue()


def test_the_same_files_give_the_same_archive(tmp_path: Path) -> None:
    one, other = make_bundle(tmp_path / "a"), make_bundle(tmp_path / "b")
    (other / "plan.json").chmod(0o600)
    (other / "plan.json").touch()
    assert packed(one) == packed(other)


def test_an_archive_is_an_ordinary_zip(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path)
    with zipfile.ZipFile(io.BytesIO(packed(folder))) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == sorted(file.name for file in folder.iterdir())


def entry(name: str, mode: int = stat.S_IFREG | 0o644) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = mode << 16
    return info


@pytest.mark.parametrize(
    "name",
    ["../evil", "/etc/passwd", "a/b", "..\\evil", "C:evil", ".hidden", "x" * 200, "a\x01b", "d/"],
)
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    file = tmp_path / "evil.rwb"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(entry(name), b"x")
    with pytest.raises(CheckFailed):
        verify(file)
    assert {each.name for each in tmp_path.iterdir()} == {"evil.rwb"}


def test_links_doubled_names_compression_and_encryption_are_refused(tmp_path: Path) -> None:
    def link(archive: zipfile.ZipFile) -> None:
        archive.writestr(entry("manifest.json", stat.S_IFLNK | 0o777), b"/etc/passwd")

    def doubled(archive: zipfile.ZipFile) -> None:
        archive.writestr(entry("manifest.json"), b"{}")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr(entry("manifest.json"), b"[]")

    def bomb(archive: zipfile.ZipFile) -> None:
        archive.writestr(entry("manifest.json"), bytes(1 << 20), zipfile.ZIP_DEFLATED)

    def many(archive: zipfile.ZipFile) -> None:
        for number in range(1001):
            archive.writestr(entry(str(number)), b"")

    for write in (link, doubled, bomb, many):
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            write(archive)
        with pytest.raises(CheckFailed):
            Archive(content, write.__name__)


def test_what_is_no_bundle_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "text.rwb").write_text("hello")
    with pytest.raises(CheckFailed, match="archive is damaged"):
        Bundle(tmp_path / "text.rwb")
    with pytest.raises(InputError, match="not a bundle"):
        Bundle(tmp_path / "none.rwb")
    with zipfile.ZipFile(tmp_path / "other.rwb", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(InputError, match="not a bundle"):
        Bundle(tmp_path / "other.rwb")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, str, dict[str, bytes]]:
    """A signed archive, its trusted key, and its right contents."""
    folder = tmp_path_factory.mktemp("signed")
    private, public = make_key(folder)
    bundle = make_bundle(folder)
    sign_bundle(bundle, open_signer(private))
    _, contents = verify(bundle, trusted_keys=[public])
    return packed(bundle), public, contents


@given(st.data())
@settings(
    max_examples=400, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
def test_whatever_is_flipped_or_cut_nothing_else_than_what_was_signed_is_accepted(
    archive: tuple[bytes, str, dict[str, bytes]], tmp_path: Path, data: st.DataObject
) -> None:
    content, public, right = bytearray(archive[0]), archive[1], archive[2]
    how = data.draw(st.sampled_from(["flip", "flip", "cut", "insert", "overwrite"]))
    position = data.draw(st.integers(0, len(content) - 1))
    if how == "flip":
        content[position] ^= 1 << data.draw(st.integers(0, 7))
    elif how == "cut":
        del content[position : position + data.draw(st.integers(1, 5000))]
    elif how == "insert":
        content[position:position] = data.draw(st.binary(min_size=1, max_size=50))
    else:
        patch = data.draw(st.binary(min_size=1, max_size=50))
        content[position : position + len(patch)] = patch
    file = tmp_path / "changed.rwb"
    file.write_bytes(content)
    for trusted in ([public], []):
        try:
            _, found = verify(file, trusted_keys=trusted)
        except (CheckFailed, InputError, OutsideError):
            continue
        # Bytes that no reader looks at (a time, a comment) may differ; no content may.
        assert found == right


def test_every_region_of_every_file_counts(
    archive: tuple[bytes, str, dict[str, bytes]], tmp_path: Path
) -> None:
    content, public, right = archive
    file = tmp_path / "changed.rwb"
    for name, part in right.items():
        start = content.index(part)
        for position in range(start, start + len(part), max(1, len(part) // 40)):
            changed = bytearray(content)
            changed[position] ^= 0x01
            file.write_bytes(changed)
            with pytest.raises(CheckFailed):
                verify(file, trusted_keys=[public])
            with pytest.raises(CheckFailed, match=name.replace(".", r"\.")):
                verify(file)


def test_a_folder_or_link_inside_a_bundle_is_refused(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    (bundle / "sub").mkdir()
    with pytest.raises(CheckFailed, match="not a plain file"):
        packed(bundle)
