"""Bases of every form become layers whose uncompressed digests stay what they were."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from roadworthy.errors import InputError
from roadworthy.image.layout import Layout, blob_path, for_this_machine, take_base


def archive(files: dict[str, bytes]) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return held.getvalue()


LAYER = archive({"etc/motd": b"hello"})
DIFF = f"sha256:{hashlib.sha256(LAYER).hexdigest()}"


def saved(layers: list[str]) -> bytes:
    """What `docker save` writes."""
    config = {"architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [DIFF]}}
    listed = [{"Config": "c.json", "RepoTags": ["a:1"], "Layers": layers}]
    return archive({
        "manifest.json": json.dumps(listed).encode(),
        "c.json": json.dumps(config).encode(),
        "1/layer.tar": LAYER,
    })  # fmt: skip


@pytest.mark.parametrize("content", [saved(["1/layer.tar"]), LAYER, gzip.compress(LAYER)])
def test_a_base_file_becomes_the_layer_that_it_holds(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "base.tar").write_bytes(content)
    layout = Layout(tmp_path / "layout")
    base = take_base(tmp_path / "base.tar", layout)
    assert base.config["rootfs"]["diff_ids"] == [DIFF]
    (layer,) = base.layers
    kept = blob_path(layout.folder, layer["digest"]).read_bytes()
    assert gzip.decompress(kept) == LAYER
    assert (len(kept), f"sha256:{hashlib.sha256(kept).hexdigest()}") == (
        layer["size"], layer["digest"],
    )  # fmt: skip


@pytest.mark.parametrize("content", [b"", b"no archive", saved(["2/layer.tar"])])
def test_a_file_that_is_no_base_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "base.tar").write_bytes(content)
    with pytest.raises(InputError) as told:
        take_base(tmp_path / "base.tar", Layout(tmp_path / "layout"))
    assert told.value.where == str(tmp_path / "base.tar")


def test_an_image_of_another_machine_is_refused() -> None:
    with pytest.raises(InputError, match="no part for this machine"):
        for_this_machine([{"platform": {"architecture": "s390x"}}])
