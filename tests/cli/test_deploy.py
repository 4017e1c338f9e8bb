"""`roadworthy deploy` as a user and a script see it; what a host does is tested with a real one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_cli import run
from tests.conftest import Trained

SECTION = '[deploy.prod]\ntarget = "ssh"\nhost = "root@127.0.0.1"\nssh_port = 1\n'


def test_without_a_section_every_verb_says_what_to_write(tmp_path: Path) -> None:
    verbs = "plan", "apply", "status", "logs", "rollback", "destroy", "orphans", "verify"
    for verb in verbs:
        done = run("deploy", verb, cwd=tmp_path)
        assert done.returncode == 2, done.stderr
        assert "[deploy.NAME]" in done.stderr


@pytest.mark.parametrize("verb", ["status", "rollback", "logs", "orphans"])
def test_a_host_out_of_reach_is_exit_code_3_and_says_so(tmp_path: Path, verb: str) -> None:
    (tmp_path / "roadworthy.toml").write_text(SECTION)
    done = run("deploy", verb, "--to", "prod", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert "Connection refused" in done.stderr
    assert "what to do" in done.stderr
    assert "Traceback" not in done.stderr


def test_errors_are_one_json_document_for_machines(tmp_path: Path) -> None:
    (tmp_path / "roadworthy.toml").write_text(SECTION)
    done = run("deploy", "status", "--json", cwd=tmp_path)
    document = json.loads(done.stdout)
    assert (done.returncode, document["exit_code"]) == (3, 3)
    assert document["error"]["where"] == "root@127.0.0.1"


def test_destroy_asks_and_nobody_to_ask_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "roadworthy.toml").write_text(SECTION)
    done = run("deploy", "destroy", cwd=tmp_path)
    assert done.returncode == 2
    assert "-y" in done.stderr


@pytest.mark.parametrize("words", [["verify", "--live"], ["orphans", "--remove", "old"]])
def test_what_makes_or_removes_asks_and_nobody_to_ask_is_an_error(
    tmp_path: Path, words: list[str]
) -> None:
    (tmp_path / "roadworthy.toml").write_text(SECTION)
    done = run("deploy", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert "-y" in done.stderr


def test_a_rehearsal_on_a_host_out_of_reach_says_what_may_be_left(
    tmp_path: Path, bundles: dict[str, Trained]
) -> None:
    (tmp_path / "roadworthy.toml").write_text(SECTION)
    model = str(bundles["linear"].bundle.path)
    done = run("deploy", "verify", model, "--live", "-y", "--json", cwd=tmp_path)
    document = json.loads(done.stdout)
    assert done.returncode == 1
    assert document["passed"] is False
    (first, last) = document["verification"]["checks"]
    assert (first["name"], first["passed"], last["name"]) == ("plan", False, "destroy")
    assert "Connection refused" in first["said"]
    assert "deploy orphans --to prod --remove verify-" in done.stderr


def test_an_unknown_deployment_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "roadworthy.toml").write_text(SECTION)
    done = run("deploy", "status", "--to", "prd", cwd=tmp_path)
    assert done.returncode == 2
    assert "did you mean 'prod'?" in done.stderr


def test_export_writes_user_data_and_what_it_fetches(
    tmp_path: Path, bundles: dict[str, Trained]
) -> None:
    (tmp_path / "roadworthy.toml").write_text(SECTION)
    done = run(
        "deploy", "export", bundles["linear"].bundle.path, "--release-url", "https://a.example",
        "--json", cwd=tmp_path,
    )  # fmt: skip
    document = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / document["user_data"]).read_text()
    assert text.startswith("#cloud-config\n")
    assert f"https://a.example/{document['files'][0]}" in text
    wrong = run("deploy", "export", bundles["linear"].bundle.path, cwd=tmp_path)
    assert wrong.returncode == 2
    assert "--release-url" in wrong.stderr


def test_export_writes_what_a_cloud_makes_for_terraform(tmp_path: Path) -> None:
    (tmp_path / "key.pub").write_text(f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{'B' * 43} me\n")
    (tmp_path / "roadworthy.toml").write_text(
        SECTION + '[deploy.cloud]\ntarget = "aws"\nregion = "eu-central-1"\nidentity = "key"\n'
        'ssh_from = ["192.0.2.0/24"]\n'
    )
    done = run("deploy", "export", "--to", "cloud", "--format", "terraform", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "deploy/main.tf.json").read_text())
    assert document["provider"] == {"aws": {"region": "eu-central-1"}}
    for arguments, said in {
        ("--to", "prod", "--format", "terraform"): "for clouds",
        ("--to", "prod", "--format", "hcl"): "cloud-init or terraform",
    }.items():
        done = run("deploy", "export", *arguments, cwd=tmp_path)
        assert done.returncode == 2
        assert said in done.stderr
        assert "Traceback" not in done.stderr
