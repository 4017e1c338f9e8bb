"""The house: a room imports only rooms before it, and a server loads nothing of training."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.containers import engine

DATA = Path(__file__).parent.parent / "examples" / "data"
SOURCE = Path(__file__).parent.parent / "src" / "roadworthy"
ROOMS = [
    "errors", "progress", "project", "buckets", "databases", "cells", "target", "contract",
    "table", "guard", "prepare", "cluster", "train", "evaluate", "observe", "bundle", "registry",
    "batch", "acceptance", "serve", "monitor", "image", "deploy", "pipeline", "cli",
]  # fmt: skip
SERVE_MAY_IMPORT = {
    "errors", "project", "buckets", "cells", "contract", "observe", "bundle", "prepare", "serve",
}  # fmt: skip
OF_TRAINING = [
    "sklearn", "scipy", "polars", "pandas", "lightgbm", "pyarrow", "onnx", "joblib", "boto3",
    "azure", "google.cloud", "ray", "sqlalchemy", "psycopg", "obstore", "roadworthy.train",
    "roadworthy.table", "roadworthy.guard", "roadworthy.evaluate", "roadworthy.acceptance",
]  # fmt: skip


def imports(file: Path) -> set[str]:
    """The rooms that a file imports, also inside functions, but not for type checkers only."""
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
        elif isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
    return {name.split(".")[1] for name in names if name.startswith("roadworthy.")}


def files() -> list[Path]:
    return [
        file
        for file in sorted(SOURCE.rglob("*.py"))
        if file.parent != SOURCE or (file.stem in ROOMS)
    ]


@pytest.mark.parametrize("file", files(), ids=lambda file: str(file.relative_to(SOURCE)))
def test_a_room_imports_only_rooms_before_it(file: Path) -> None:
    room = file.relative_to(SOURCE).parts[0].removesuffix(".py")
    allowed = set(ROOMS[: ROOMS.index(room) + 1])
    assert imports(file) <= allowed


def test_the_server_imports_no_room_of_training() -> None:
    found = set().union(*(imports(file) for file in (SOURCE / "serve").rglob("*.py")))
    assert found <= SERVE_MAY_IMPORT


def test_no_file_is_long_and_none_has_a_name_that_says_nothing() -> None:
    long = [file.name for file in SOURCE.rglob("*.py") if len(file.read_text().splitlines()) > 420]
    vague = [f.name for f in SOURCE.rglob("*.py") if f.stem in ("utils", "helpers", "common")]
    assert (long, vague) == ([], [])


def test_a_server_process_loads_nothing_of_training(bundles: dict, tmp_path: Path) -> None:
    program = """
import asyncio, json, sys
from roadworthy.cli import app
from roadworthy.serve import serve
from roadworthy.serve.app import load_app
from roadworthy.serve.orders import Orders
from roadworthy.serve.messages import Head, Request
from roadworthy.project import ServeSection
app = asyncio.run(load_app(Orders([sys.argv[1]], ServeSection(), 0, None, counts=sys.argv[2])))
row = json.dumps({**app.models[0].current.bundle.golden[0].row, "age": None}).encode()
asked = Head("POST", "/predict", "", {"content-type": "application/json"}, len(row), True, None)
assert app.answer(Request(asked, row, "", "id")).status == 200
for path in ("/docs", "/metrics"):
    app.answer(Request(Head("GET", path, "", {}, 0, True, None), b"", "", "id"))
app.close()  # what was served is counted
print(*sys.modules)
"""
    path = str(bundles["binary"].bundle.path)
    run = subprocess.run(
        [sys.executable, "-c", program, path, str(tmp_path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert list(tmp_path.rglob("*.window"))
    loaded = set(run.stdout.split())
    assert "onnxruntime" in loaded
    assert [name for name in OF_TRAINING if name in loaded] == []
    assert "numpy.ma" not in loaded  # 6 MB for each worker, and a stop of 50 ms when it is loaded


def test_the_monitor_reports_without_what_only_training_needs(
    bundles: dict, tmp_path: Path
) -> None:
    serving = """
import asyncio, json, pathlib, polars, sys
from roadworthy.serve.app import load_app
from roadworthy.serve.orders import Orders
from roadworthy.serve.messages import Head, Request
from roadworthy.project import ServeSection
options = ServeSection(log_folder="log")
app = asyncio.run(load_app(Orders([sys.argv[1]], options, 0, None, counts=sys.argv[2])))
table = polars.read_csv(sys.argv[3]).drop("income")
mixed = table.select(each.sample(300, seed=number) for number, each in enumerate(table))
for number, row in enumerate(map(str.encode, map(json.dumps, mixed.to_dicts()))):
    head = Head("POST", "/predict", "", {"content-type": "application/json"}, len(row), True, None)
    app.answer(Request(head, row, "", f"id{number}"))
app.close()
log = next(pathlib.Path("log").glob("*.jsonl"))
first, *others = map(json.loads, log.read_text().splitlines())
first["time"] -= 86_400  # a second day: a part of one is no reference for another
log.write_text("".join(json.dumps(each) + "\\n" for each in (first, *others)))
"""
    reporting = """
import sys
for name in ("catboost", "joblib", "onnx", "pandas", "pyarrow", "sklearn", "skl2onnx", "xgboost"):
    sys.modules[name] = None
from roadworthy.cli import app
app(["monitor", "report", sys.argv[1], "--store", sys.argv[2], "--html", "page.html"])
"""
    path, table = str(bundles["binary"].bundle.path), str(DATA / "adult.csv")
    (tmp_path / "roadworthy.toml").write_text(
        f'[data]\npath = "{table}"\ntarget = "income"\n[serve]\nlog_folder = "log"\n'
    )
    for program in (serving, reporting):
        run = subprocess.run(
            [sys.executable, "-c", program, path, str(tmp_path / "counts"), table],
            capture_output=True, text=True, check=False, cwd=tmp_path,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
    assert "300 rows" in run.stdout
    assert "a model tells these rows from the training table" in run.stdout
    assert "300 rows" in (tmp_path / "page.html").read_text()


def test_a_bundle_is_tested_and_a_deployment_planned_without_libraries_of_training(
    bundles: dict, tmp_path: Path
) -> None:
    program = """
import sys
for name in ("catboost", "joblib", "lightgbm", "onnx", "pandas", "pyarrow", "sklearn", "xgboost"):
    sys.modules[name] = None
from roadworthy.cli import main
main()
"""
    bundle, data = str(bundles["binary"].bundle.path), str(DATA / "adult.csv")
    (tmp_path / "roadworthy.toml").write_text('[deploy.here]\ntarget = "docker"\nport = 18080\n')
    with engine() as environment:
        for arguments in (["test", bundle, "--data", data], ["deploy", "plan", bundle]):
            run = subprocess.run(
                [sys.executable, "-c", program, *arguments], env=os.environ | environment,
                capture_output=True, text=True, check=False, cwd=tmp_path,
            )  # fmt: skip
            assert run.returncode in (0, 1), run.stderr
            assert "is not installed" not in run.stderr
    assert "golden" in run.stdout or "accept" in run.stdout


def test_the_supervisor_of_a_server_loads_neither_numpy_nor_a_model_runtime() -> None:
    program = """
import sys
from roadworthy.cli import serve as verb
from roadworthy.registry import resolve
from roadworthy.serve import serve
print(*sys.modules)
"""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(run.stdout.split())
    assert "roadworthy.serve.supervisor" in loaded
    assert loaded.isdisjoint({"numpy", "onnxruntime", "sqlalchemy", "pyarrow"})


def test_importing_the_package_does_no_work() -> None:
    program = "import sys, roadworthy; print(len([m for m in sys.modules if 'roadworthy' in m]))"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "1"
