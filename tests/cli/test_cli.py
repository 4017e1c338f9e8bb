"""The command line as a user and as a script sees it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from roadworthy.cli.files import write_file, write_frame
from roadworthy.errors import OutsideError
from roadworthy.project import load_project
from tests.conftest import DATA, Trained, free_port


def run(*words: object, cwd: Path, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "roadworthy", *map(str, words)],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=120,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "120"},
        **options,
    )


def test_launch_prints_one_document(tmp_path: Path) -> None:
    done = run(
        "launch", DATA / "adult.csv", "--target", "income", "--budget", "8s", "--no-serve",
        "--json", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["rows"] == 48_842
    assert document["report"]["metrics"]["roc_auc"]["value"] > 0.85
    assert (
        document["report"]["metrics"]["roc_auc"]["low"] > document["report"]["baseline"]["roc_auc"]
    )
    assert document["bundle_bytes"] < 10e6
    assert (tmp_path / document["bundle"] / "manifest.json").exists()
    verified = run("models", "verify", document["bundle"], cwd=tmp_path)
    assert verified.returncode == 0
    assert document["version"] in verified.stdout


def test_launch_tells_a_person_what_happened(tmp_path: Path) -> None:
    (tmp_path / "roadworthy.toml").write_text(
        '[data]\ndrop = ["body"]\n[guard]\nacknowledge = ["leakage:boat"]\n'
    )
    done = run(
        "launch", DATA / "titanic.csv", "--target", "survived", "--budget", "8s", "--no-serve",
        "--name", "ships", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for text in ("1,309 rows", "left out: ticket", "Findings", "leakage:boat",
                 "95 % interval", "precision", "subgroup",
                 "Parity", "holds", "bundles/ships/", "µs a row"):  # fmt: skip
        assert text in done.stdout
    assert "search" in done.stderr
    assert "\x1b" not in done.stdout  # NO_COLOR


def test_launch_serves_until_it_is_stopped(tmp_path: Path) -> None:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "roadworthy", "launch", str(DATA / "churn.csv"), "--target", "churn",
         "--budget", "8s", "--port", str(port)],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        printed = ""
        for line in process.stdout:
            printed += line
            if "Ctrl-C" in line:
                break
        assert f"http://127.0.0.1:{port}/docs" in printed
        curl = next(line for line in printed.splitlines() if line.strip().startswith("curl"))
        answer = json.loads(
            subprocess.run(["bash", "-c", curl], capture_output=True, text=True, check=True).stdout
        )
        assert answer["prediction"] in ("Yes", "No")
        maps = Path(f"/proc/{process.pid}/maps").read_text()
        assert "sklearn" not in maps  # the process that serves never loaded what trained
        assert "lightgbm" not in maps
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["launch", "nowhere.csv", "--target", "y"], 2, "does not exist"),
        (["launch", DATA / "adult.csv"], 2, "no target"),
        (["launch", DATA / "adult.csv", "--target", "incme"], 2, "did you mean 'income'"),
        (["launch", DATA / "adult.csv", "--target", "income", "--budget", "soon"], 2, "duration"),
        (["launch"], 2, "no table is named"),
        (["launch", "--nonsense"], 2, "No such option"),
        (["serve", "."], 2, "not a bundle"),
        (["models", "verify", "/nowhere"], 2, "not a bundle"),
        (["predict", DATA / "adult.csv", "--model", "."], 2, "there is no bundle"),
        (["launch", "x", "--project", "none.toml", "--target", "y"], 2, "project file"),
    ],
)
def test_bad_usage_ends_with_a_message_and_code_two(
    tmp_path: Path, words: list, code: int, message: str
) -> None:
    done = run(*words, cwd=tmp_path)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_errors_are_json_for_machines(tmp_path: Path) -> None:
    done = run("launch", "nowhere.csv", "--target", "y", "--json", cwd=tmp_path)
    document = json.loads(done.stdout)
    assert document["exit_code"] == done.returncode == 2
    assert document["error"]["where"] == "nowhere.csv"


def test_a_tampered_bundle_is_code_one_and_is_not_served(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    import shutil

    copy = shutil.copytree(bundles["linear"].bundle.path, tmp_path / "copy")
    (copy / "core.onnx").write_bytes(b"x" + (copy / "core.onnx").read_bytes()[1:])
    for words in (["models", "verify", copy], ["serve", copy, "--port", free_port()]):
        done = run(*words, cwd=tmp_path)
        assert done.returncode == 1
        assert "core.onnx" in done.stderr


def test_a_port_in_use_is_code_three(bundles: dict[str, Trained], tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("serve", bundles["linear"].bundle.path, "--port", port, cwd=tmp_path)
    assert done.returncode == 3
    assert str(port) in done.stderr
    assert "--port" in done.stderr


def test_init_writes_a_project_file_that_launch_takes(tmp_path: Path) -> None:
    done = run("init", DATA / "churn.csv", "--target", "churn", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    project = load_project(tmp_path / "roadworthy.toml", environment={})
    assert (project.data.target, project.project.name) == ("churn", "churn")
    again = run("init", DATA / "churn.csv", "--target", "churn", cwd=tmp_path)
    assert again.returncode == 2
    launched = run("launch", "--budget", "8s", "--no-serve", "--json", cwd=tmp_path)
    assert launched.returncode == 0, launched.stderr
    assert json.loads(launched.stdout)["name"] == "churn"


def test_predict_writes_csv_and_parquet(bundles: dict[str, Trained], tmp_path: Path) -> None:
    import polars as pl

    bundle = bundles["binary"].bundle
    for name in ("out.csv", "out.parquet"):
        done = run("predict", DATA / "adult.csv", "--model", bundle.path, "-o", name, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    csv, parquet = pl.read_csv(tmp_path / "out.csv"), pl.read_parquet(tmp_path / "out.parquet")
    assert csv.height == parquet.height == 48_842
    assert csv["prediction"].to_list() == parquet["prediction"].to_list()
    (tmp_path / "short.csv").write_text("age,sex\n39,Male\n")
    done = run("predict", "short.csv", "--model", bundle.path, "-o", "no.csv", cwd=tmp_path)
    assert done.returncode == 2
    assert "is absent" in done.stderr
    assert not (tmp_path / "no.csv").exists()


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.html"])
def test_a_file_that_cannot_be_written_is_an_error_and_leaves_what_is_there(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text("old")
    (tmp_path / f".{name}.draft").mkdir()  # no file can be made there, and none taken away
    page = name.endswith("html")
    written = "new" if page else pl.DataFrame({"x": [1]})
    write: Any = write_file if page else write_frame
    with pytest.raises(OutsideError, match="cannot be written"):
        write(*((tmp_path / name, written) if page else (written, str(tmp_path / name))))
    assert (tmp_path / name).read_text() == "old"


def test_a_model_in_the_place_of_the_table_is_told_where_it_goes(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    path = bundles["binary"].bundle.path
    for model in (str(path), str(path.parent), "adult@champion", "adult.rwb"):
        done = run("predict", model, "new.csv", cwd=tmp_path)
        assert done.returncode == 2
        assert "a model stands where the table is expected" in done.stderr
        assert f"roadworthy predict new.csv --model {model}" in done.stderr.replace("\n", "")


@pytest.mark.parametrize(
    "verb", ["launch", "init", "predict", "serve", "models verify", "models show"]
)
def test_every_verb_has_help_with_an_example(tmp_path: Path, verb: str) -> None:
    done = run(*verb.split(), "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "Example:" in done.stdout
    assert f"roadworthy {verb}" in done.stdout


def test_the_server_ends_when_its_terminal_is_gone(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    """SIGTERM to the parent ends the workers too: nothing goes on listening."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "roadworthy", "serve", str(bundles["linear"].bundle.path),
         "--port", str(port), "--quiet", "--workers", "2"],
        cwd=tmp_path,
    )  # fmt: skip

    def alive() -> bool:
        with contextlib.suppress(OSError):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/livez")
            return connection.getresponse().status == 200
        return False

    for _ in range(200):
        if alive():
            break
        time.sleep(0.05)
    assert alive()
    process.terminate()
    assert process.wait(40) == 0
    assert not alive()
