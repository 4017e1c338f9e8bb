"""How each server is started and asked in `serve_peers`; a peer has an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import roadworthy as rw
from benchmarks.environments import ROOT, environment
from benchmarks.model import whole_rows
from benchmarks.serve_one_row import free_port

HERE = Path(__file__).parent
_PANDAS = "pandas>=2.3"
_OURS = f"{ROOT}[train,arrow]"  # what model.joblib needs to read a data frame
Rows = list[dict[str, Any]]


class Way(NamedTuple):
    """How one server is started and asked.

    Attributes:
        command: Without the port.
        path: Where one row is asked.
        body: Rows -> JSON.
        shares: Answer -> probabilities of each row.
        many: Where many rows are asked.
        environment: Further environment variables.
    """

    command: Callable[[int], list[Any]]
    path: str
    body: Callable[[Rows], Any]
    shares: Callable[[Any], list[list[float]]]
    many: str = ""
    environment: Mapping[str, str] = MappingProxyType({})


def ours(bundle: rw.Bundle) -> Way:
    """Roadworthy."""

    def shares(answer: Any) -> list[list[float]]:
        rows = answer.get("predictions") or [answer]
        return [list(row["probabilities"].values()) for row in rows]

    command = [sys.executable, "-m", "roadworthy", "serve", bundle.path, "--quiet", "--port"]
    return Way(
        lambda port: [*command, port], "/predict", lambda r: r[0] if len(r) == 1 else r, shares
    )


def fastapi(bundle: rw.Bundle, _: Path) -> Way:
    """FastAPI and a data frame, as tutorials have it."""

    def shares(answer: Any) -> list[list[float]]:
        found: list[Any] = answer["probabilities"]
        return found if isinstance(found[0], list) else [found]

    command = [sys.executable, HERE / "plain_app.py", bundle.path]
    return Way(
        lambda port: [*command, port],
        "/predict",
        lambda rows: rows[0] if len(rows) == 1 else rows,
        shares,
        many="/predict_many",
    )


def mlflow(bundle: rw.Bundle, folder: Path) -> Way:
    """MLflow's scoring server."""
    python = environment("peer-mlflow", _OURS, "mlflow==3.17.2")
    place = folder / "mlflow"
    source = Path(bundle.path) / "model.joblib"
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true"}
    told = {**os.environ, **quiet}
    save = [python, HERE / "peers" / "save_mlflow.py", source, place]
    subprocess.run(save, check=True, env=told, cwd=folder)
    command = [python, "-m", "mlflow", "models", "serve", "-m", place, "--env-manager", "local"]
    return Way(
        lambda port: [*command, "-h", "127.0.0.1", "-w", "1", "-p", port],
        "/invocations",
        lambda rows: {"dataframe_records": rows},
        lambda answer: answer["predictions"],
        environment={**quiet, "PATH": f"{python.parent}:{os.environ['PATH']}"},
    )


def mlserver(bundle: rw.Bundle, folder: Path) -> Way:
    """MLServer, without its worker pool, which costs more than it gives on one core."""
    needs = ("mlserver==1.7.1", "mlserver-sklearn==1.7.1", "uvloop<0.22")
    python = environment("peer-mlserver", _OURS, *needs)
    place = folder / "mlserver"
    place.mkdir()
    about = {
        "name": "adult",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": str(Path(bundle.path) / "model.joblib"), "version": "1"},
    }
    (place / "model-settings.json").write_text(json.dumps(about))
    texts = {name for name, cell in whole_rows(bundle)[0].items() if isinstance(cell, str)}

    def command(port: int) -> list[Any]:
        settings = {
            "debug": False, "parallel_workers": 0, "host": "127.0.0.1", "http_port": port,
            "grpc_port": free_port(), "metrics_port": free_port(),
        }  # fmt: skip
        (place / "settings.json").write_text(json.dumps(settings))
        return [python.parent / "mlserver", "start", place]

    def body(rows: Rows) -> Any:
        inputs = [
            {
                "name": name,
                "shape": [len(rows), 1],
                "datatype": "BYTES" if name in texts else "FP64",
                "data": [row[name] for row in rows],
                **({"parameters": {"content_type": "str"}} if name in texts else {}),
            }
            for name in rows[0]
        ]
        asked = [{"name": "predict_proba"}]
        return {"parameters": {"content_type": "pd"}, "inputs": inputs, "outputs": asked}

    def shares(answer: Any) -> list[list[float]]:
        flat = answer["outputs"][0]["data"]
        return [list(pair) for pair in zip(flat[::2], flat[1::2], strict=True)]

    return Way(command, "/v2/models/adult/infer", body, shares)


def bentoml(bundle: rw.Bundle, folder: Path) -> Way:
    """BentoML."""
    python = environment("peer-bentoml", _OURS, "bentoml==1.4.39", _PANDAS)
    told = {
        "MODEL": str(Path(bundle.path) / "model.joblib"),
        "BENTOML_HOME": str(folder / "bento"),
        "BENTOML_DO_NOT_TRACK": "True",
        "PATH": f"{python.parent}:{os.environ['PATH']}",
    }
    service = [python, "-m", "bentoml", "serve", "bento_service:Rows", "--host", "127.0.0.1"]
    place = ["--working-dir", HERE / "peers", "--port"]
    return Way(
        lambda port: [*service, *place, port],
        "/predict",
        lambda rows: {"rows": rows},
        lambda answer: answer,
        environment=told,
    )


def _script(name: str, bundle: rw.Bundle, python: Path | str) -> Way:
    """A script of `peers/` that takes a list of rows and answers their probabilities."""
    command = [python, HERE / "peers" / name, Path(bundle.path) / "model.joblib"]
    return Way(lambda port: [*command, port], "/predict", lambda rows: rows, lambda answer: answer)


def flask(bundle: rw.Bundle, _: Path) -> Way:
    """Flask's own server, as tutorials have it."""
    return _script("flask_app.py", bundle, environment("peer-flask", _OURS, "flask", _PANDAS))


def litserve(bundle: rw.Bundle, _: Path) -> Way:
    """LitServe."""
    python = environment("peer-litserve", _OURS, "litserve==0.2.19", _PANDAS)
    return _script("lit_app.py", bundle, python)


def rayserve(bundle: rw.Bundle, _: Path) -> Way:
    """Ray Serve, one replica."""
    python = environment("peer-rayserve", _OURS, "ray[serve]==2.60.0", _PANDAS)
    way = _script("ray_app.py", bundle, python)
    return way._replace(environment={"RAY_USAGE_STATS_ENABLED": "0"})


def vetiver(bundle: rw.Bundle, _: Path) -> Way:
    """A vetiver server."""
    python = environment("peer-vetiver", _OURS, "vetiver==0.2.6", _PANDAS)
    way = _script("vetiver_app.py", bundle, python)
    return way._replace(shares=lambda answer: answer["predict"])


PEERS: dict[str, Callable[[rw.Bundle, Path], Way]] = {
    "fastapi": fastapi,
    "flask": flask,
    "mlflow": mlflow,
    "mlserver": mlserver,
    "bentoml": bentoml,
    "litserve": litserve,
    "rayserve": rayserve,
    "vetiver": vetiver,
}
