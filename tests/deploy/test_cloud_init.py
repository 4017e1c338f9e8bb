from __future__ import annotations

import http.server
import subprocess
import tarfile
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.deploy import deploying
from roadworthy.deploy.cloud_init import LIMIT, archive, user_data
from roadworthy.deploy.host.layout import Layout
from roadworthy.deploy.host.steps import HostStep, file_step
from roadworthy.deploy.wanted import in_file, in_memory
from roadworthy.errors import InputError
from roadworthy.project import Project, SshSection
from tests.conftest import Trained
from tests.deploy.hosts import Host, install
from tests.installing import CACHE
from tests.registry.conftest import registry_project

FACTS = {"machine": "x86_64", "python": "3.11", "glibc": "2.36"}


def project(folder: Path, **options: object) -> Project:
    import msgspec

    wanted = registry_project(folder, cache=str(CACHE / "deploy"))
    section = SshSection(host="new-host", **options)  # type: ignore[arg-type]
    return msgspec.structs.replace(wanted, deploy={"prod": section})


def run_here(steps: list[HostStep], folder: Path) -> subprocess.CompletedProcess[str]:
    """Carry an archive's steps out on this machine."""
    with tarfile.open(archive(steps, folder)) as opened:
        opened.extractall(folder / "work", filter="data")
    return subprocess.run(
        ["sh", "run.sh"], cwd=folder / "work", capture_output=True, text=True, timeout=60
    )


@settings(deadline=None, max_examples=15)
@given(st.binary(max_size=300), st.text(st.characters(codec="utf-8"), max_size=30))
def test_any_content_and_any_words_reach_the_shell_unchanged(data: bytes, words: str) -> None:
    import shlex
    import tempfile

    words = words.replace("\0", "")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stamp = str(folder / "done" / "a")
        step = file_step("a", "a", f"{folder}/a file", in_memory(data), stamp, owner="0:0",
                         after=f"printf %s {shlex.quote(words)} > '{folder}/words'")  # fmt: skip
        done = run_here([step], folder)
        assert done.returncode == 0, done.stderr
        assert (folder / "a file").read_bytes() == data
        assert (folder / "words").read_bytes() == words.encode()
        assert Path(stamp).read_text() == step.mark


def test_a_step_that_was_done_is_not_done_again(tmp_path: Path) -> None:
    step = HostStep(
        id="a", what="a", script=f"echo x >> {tmp_path}/count", stamp=f"{tmp_path}/done/a"
    )
    for _ in range(2):
        assert run_here([step], tmp_path).returncode == 0
    assert (tmp_path / "count").read_text() == "x\n"


def test_content_that_was_cut_off_leaves_no_file_and_no_stamp(tmp_path: Path) -> None:
    step = file_step("a", "a", f"{tmp_path}/a", in_memory(b"whole"), f"{tmp_path}/done/a")
    sent = f"{step.content.sha256}\nwho".encode()  # type: ignore[union-attr]
    done = subprocess.run(["sh", "-c", step.program], input=sent, capture_output=True)
    assert done.returncode == 75
    assert list(tmp_path.iterdir()) == []


def test_user_data_is_what_cloud_init_takes_small_and_the_same_twice(
    tmp_path: Path, versions: list[Trained]
) -> None:
    install("cloud-init")
    found = deploying.export(
        project(tmp_path), "prod", str(versions[0].bundle.path), "https://store.example/x",
        tmp_path / "out", FACTS,
    )  # fmt: skip
    text = Path(found["user_data"]).read_bytes()
    assert len(text) == found["bytes"] < LIMIT
    checked = subprocess.run(
        ["cloud-init", "schema", "--config-file", found["user_data"]],
        capture_output=True, text=True,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout + checked.stderr
    again = deploying.export(
        project(tmp_path), "prod", str(versions[0].bundle.path), "https://store.example/x",
        tmp_path / "again", FACTS,
    )  # fmt: skip
    assert again["files"] == found["files"]
    assert Path(again["user_data"]).read_bytes() == text


def test_secrets_and_keys_never_go_into_user_data(
    tmp_path: Path, versions: list[Trained], monkeypatch
) -> None:
    monkeypatch.setenv("TOKEN", "value")
    with pytest.raises(InputError, match="must hold no secret"):
        deploying.export(
            project(tmp_path, secrets=("TOKEN",)), "prod", str(versions[0].bundle.path),
            "https://store.example", tmp_path, FACTS,
        )  # fmt: skip


def test_a_long_address_that_clouds_would_refuse_is_refused(tmp_path: Path) -> None:
    release = archive([], tmp_path)
    with pytest.raises(InputError, match="clouds take"):
        user_data(Layout("prod"), in_file(release), "https://x/" + "a" * LIMIT)


@pytest.mark.timeout(600)
def test_a_new_host_makes_itself_serve_from_its_user_data(
    tmp_path: Path, versions: list[Trained]
) -> None:
    wanted = project(tmp_path)
    out = tmp_path / "out"
    seen: list[str] = []

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            seen.append(self.path)

    # an address of its own for the archive is known only once the host has its network
    handler = partial(Quiet, directory=str(out))
    with http.server.ThreadingHTTPServer(("0.0.0.0", 0), handler) as store:
        threading.Thread(target=store.serve_forever, daemon=True).start()

        def seed(gateway: str) -> dict[str, str]:
            found = deploying.export(
                wanted, "prod", str(versions[0].bundle.path),
                f"http://{gateway}:{store.server_port}", out, FACTS,
            )  # fmt: skip
            text = Path(found["user_data"]).read_text()
            return {"user-data": text, "meta-data": "instance-id: one\n"}

        host = Host(seed)
        try:
            end = time.monotonic() + 400
            status = 0
            while status != 200 and time.monotonic() < end:
                try:
                    status = host.get("/readyz")[0]
                except OSError:
                    time.sleep(0.5)
            log = host.ssh("tail -n 40 /var/log/cloud-init-output.log", check=False).stdout
            assert status == 200, log
            done = host.ssh("cloud-init status --wait --long").stdout
            assert "status: done" in done
            fetched = len(seen)
            host.ssh("/usr/local/sbin/roadworthy-bootstrap-prod")
            assert len(seen) == fetched
        finally:
            host.close()
            store.shutdown()
