"""What is written down: predictions as the model saw them, requests without the caller's data."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

from tests.conftest import Server, Trained, serving
from tests.serve.test_bad_input import ROW
from tests.serve.test_http import workers


def lines(folder: Path, pattern: str = "*") -> list[dict]:
    files = sorted(folder.glob(pattern))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def serve_logged(
    bundles: dict[str, Trained], tmp_path: Path, more: str = "", *options: str
) -> Server:
    text = f"[serve]\nlog_folder = 'log'\nlog_redact = ['race', 'sex']\n{more}\n"
    (tmp_path / "roadworthy.toml").write_text(text)
    return Server(bundles["binary"].bundle.path, *options, cwd=tmp_path)


def test_every_prediction_is_written_as_the_model_saw_it(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    rows = [ROW, {**ROW, "workclass": None, "occupation": "unheard of", "age": 50}]
    server = serve_logged(bundles, tmp_path, "", "--workers", "2")
    body = json.dumps(ROW).encode()
    server.request(
        "POST", "/predict", body, Content_Type="application/json", X_Request_ID="order-1"
    )
    given = server.predict(rows)[1]
    server.request(
        "POST", "/invocations", json.dumps({"instances": rows}).encode(),
        Content_Type="application/json",
    )  # fmt: skip
    server.predict({"age": 1})  # refused: nothing was predicted
    assert server.stop() == 0
    found = lines(tmp_path / "log", "*.jsonl")
    assert not list((tmp_path / "log").glob("*.open"))
    assert len(found) == 5
    (first,) = [line for line in found if line["request_id"] == "order-1"]
    assert (first["row"]["age"], first["row"]["workclass"]) == (39.0, "State-gov")
    assert first["prediction"] == "<=50K"
    batch = [line for line in found if line["request_id"] == given["request_id"]]
    assert [line["row_number"] for line in batch] == [0, 1]
    assert [line["probabilities"] for line in batch] == [
        answer["probabilities"] for answer in given["predictions"]
    ]
    assert batch[1]["row"]["occupation"] is None
    assert not [line for line in found if {"race", "sex"} & set(line["row"])]


def test_a_killed_worker_loses_no_more_than_was_said(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    server = serve_logged(bundles, tmp_path)
    try:
        for _ in range(20):
            server.predict(ROW)
        time.sleep(2.5)
        os.kill(workers(server)[0], signal.SIGKILL)
        time.sleep(0.2)
        assert len(lines(tmp_path / "log")) == 20
    finally:
        server.stop()


def test_rows_without_room_are_counted_and_predictions_go_on(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    server = serve_logged(bundles, tmp_path, "log_rows = 10")
    try:
        assert server.predict([ROW] * 11)[0] == 200
        time.sleep(1.5)
        text = server.get("/metrics")[2].decode()
        assert "roadworthy_log_dropped_total 11.0" in text
    finally:
        server.stop()


def test_a_sample_is_taken_by_request(bundles: dict[str, Trained], tmp_path: Path) -> None:
    server = serve_logged(bundles, tmp_path, "log_sample = 0.5")
    for _ in range(100):
        server.predict([ROW, ROW])
    server.stop()
    found = lines(tmp_path / "log", "*.jsonl")
    assert 50 < len(found) < 150
    assert len({line["request_id"] for line in found}) == len(found) / 2


def test_the_access_log_says_what_happened_and_nothing_of_the_rows(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    (tmp_path / "roadworthy.toml").write_text("[serve]\naccess_log = true\n")
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    with serving(bundles["binary"].bundle.path, cwd=tmp_path) as server:
        server.request(
            "POST", "/predict?secret-query=1", json.dumps({**ROW, "age": "secret"}).encode(),
            Content_Type="application/json", X_API_Key="secret-key",
            Traceparent=f"00-{trace}-00f067aa0ba902b7-01",
        )  # fmt: skip
        server.get("/secret-path")
    found = [json.loads(line) for line in server.log if line.startswith("{")]
    (line,) = [line for line in found if line.get("route") == "/predict"]
    assert (line["status"], line["method"], line["trace_id"]) == (422, "POST", trace)
    assert "secret" not in "".join(server.log)
