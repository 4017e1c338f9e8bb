"""Schemathesis makes requests of our own description and holds every answer against it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from openapi_spec_validator import validate

from roadworthy.serve.guard import add_key
from tests.conftest import Server, Trained, serving

TRUE_IN_ALL = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance",
    "response_headers_conformance", "response_schema_conformance", "unsupported_method",
    "missing_required_header",
)  # fmt: skip
FOR_JSON = ("negative_data_rejection", "positive_data_acceptance")
CONFIG = """
[checks.negative_data_rejection]
expected-statuses = [400, 404, 405, 413, 415, 422]
"""


def fuzz(folder: Path, server: Server, document: dict, checks: tuple, *options: str) -> None:
    (folder / "openapi.json").write_text(json.dumps(document))
    (folder / "schemathesis.toml").write_text(CONFIG)
    run = subprocess.run(
        [
            sys.executable, "-m", "schemathesis.cli", "run", "openapi.json", "--no-color",
            "--url", f"http://127.0.0.1:{server.port}", "--checks", ",".join(checks), *options,
            "--phases", "examples,coverage,fuzzing", "--seed", "7", "--generation-database", "none",
        ],
        cwd=folder, capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    assert run.returncode == 0, (run.stdout[-6000:], run.stderr[-2000:])
    assert f"Tested: {len(operations(document))}" in run.stdout


def operations(document: dict) -> list[str]:
    return [path + method for path, about in document["paths"].items() for method in about]


@pytest.fixture
def document(server: Server) -> dict:
    found = json.loads(server.get("/openapi.json")[2])
    validate(found)
    return found


def test_every_documented_operation_answers_as_documented(
    server: Server, document: dict, tmp_path: Path
) -> None:
    assert len(operations(document)) > 20
    fuzz(tmp_path, server, document, TRUE_IN_ALL, "--max-examples", "15")
    assert server.get("/readyz")[0] == 200


def test_json_that_keeps_the_description_is_answered_and_other_json_is_refused(
    server: Server, document: dict, tmp_path: Path
) -> None:
    """Only what JSON Schema can say whole: not that columns have one length, nor what CSV holds."""
    operation = document["paths"]["/predict"]["post"]
    content = operation["requestBody"]["content"]["application/json"]
    content["schema"]["anyOf"] = content["schema"]["anyOf"][:2]
    operation["requestBody"]["content"] = {"application/json": content}
    document["paths"] = {"/predict": {"post": operation}}
    fuzz(tmp_path, server, document, (*TRUE_IN_ALL, *FOR_JSON), "--max-examples", "60")


def test_where_keys_are_asked_for_the_description_says_so_and_none_is_left_out(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    key = add_key(tmp_path / "keys.json", "test")
    (tmp_path / "roadworthy.toml").write_text("[serve]\nkeys = 'keys.json'\n")
    with serving(bundles["binary"].bundle.path, cwd=tmp_path) as closed:
        document = json.loads(closed.request("GET", "/openapi.json", X_API_Key=key)[2])
        checks = ("not_a_server_error", "status_code_conformance", "ignored_auth")
        fuzz(tmp_path, closed, document, checks, "--max-examples", "5", "-H", f"X-API-Key: {key}")
