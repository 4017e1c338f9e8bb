"""The unmodified clients of other systems, over real sockets: MLflow, KServe, SageMaker."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import boto3
import botocore.exceptions
import pytest
from botocore.config import Config

from tests.conftest import Server, Trained, free_port, serving
from tests.environments import environment
from tests.serve.test_bad_input import ROW
from tests.serve.test_dialects import cells, text

CLIENTS = ("kserve==0.21.0", "mlflow-skinny==3.17.2", "pandas>=2.3", "scipy>=1.11")
ROWS = [
    ROW,
    {**ROW, "age": 52, "occupation": "Exec-managerial", "education": "Masters"},
    {**ROW, "occupation": "Gärtner"},
]


@pytest.fixture(scope="module")
def answers(
    bundles: dict[str, Trained], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict]:
    """What each foreign client made of the answers, and what ours are."""
    folder = tmp_path_factory.mktemp("clients")
    port = free_port()
    (folder / "roadworthy.toml").write_text(f"[serve]\ngrpc_port = {port}\n")
    python = environment("clients", *CLIENTS)
    with serving(bundles["binary"].bundle.path, cwd=folder) as server:
        told = {
            "host": "127.0.0.1",
            "port": server.port,
            "grpc_port": port,
            "rows": ROWS,
            "numbers": [name for name, cell in ROW.items() if not isinstance(cell, str)],
        }
        run = subprocess.run(
            [python, Path(__file__).with_name("foreign_clients.py")],
            input=json.dumps(told), capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr[-3000:]
        native = server.predict(ROWS)[1]["predictions"]
        yield {
            **json.loads(run.stdout.splitlines()[-1]),
            "predictions": [one["prediction"] for one in native],
            "probabilities": [list(one["probabilities"].values()) for one in native],
        }


def test_mlflows_scoring_client_gets_our_predictions(answers: dict) -> None:
    found = answers["mlflow"]
    assert found["predictions"] == answers["predictions"]
    assert found["probabilities"] == answers["probabilities"]
    assert "age" in found["refused"]
    assert "absent" in found["refused"]


def test_kserves_clients_get_our_predictions_by_rest_and_grpc(answers: dict) -> None:
    found = answers["kserve"]
    assert found["v1"] == found["v2"] == found["grpc"] == answers["predictions"]
    assert found["shares"] == answers["probabilities"]
    assert found["ready"] == [True] * 6


def runtime(server: Server):
    return boto3.client(
        "sagemaker-runtime", region_name="eu-central-1", endpoint_url=f"http://127.0.0.1:{server.port}",
        aws_access_key_id="testing", aws_secret_access_key="testing",
        config=Config(retries={"total_max_attempts": 1}),
    )  # fmt: skip


def test_sagemakers_runtime_client_gets_our_predictions(server: Server) -> None:
    native = [one["prediction"] for one in server.predict(ROWS)[1]["predictions"]]
    client = runtime(server)
    bodies = {
        "application/json": json.dumps({"instances": cells(ROWS)}).encode(),
        "text/csv": text(ROWS, header=False),
        "application/jsonlines": "\n".join(map(json.dumps, ROWS)).encode(),
    }
    for media, body in bodies.items():
        answer = client.invoke_endpoint(
            EndpointName="adult", ContentType=media, Accept="application/json", Body=body
        )
        assert json.loads(answer["Body"].read())["predictions"] == native, media
    lines = client.invoke_endpoint(
        EndpointName="adult", ContentType="text/csv", Accept="text/csv", Body=bodies["text/csv"]
    )
    assert lines["ContentType"].startswith("text/csv")
    assert lines["Body"].read().decode().split() == native


def test_sagemakers_runtime_client_reads_our_refusals(server: Server) -> None:
    client = runtime(server)
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        client.invoke_endpoint(EndpointName="adult", ContentType="text/csv", Body=b"1,2\n")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert "cells" in str(caught.value)
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        client.invoke_endpoint(EndpointName="other", ContentType="text/csv", Body=b"1,2\n")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
