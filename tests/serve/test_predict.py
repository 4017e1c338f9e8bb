"""`POST /predict` over a real socket: right answers, warnings, metrics."""

from __future__ import annotations

import asyncio
import concurrent.futures
import http.client
import json
import re
import signal
import socket
import threading
import time

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import validate

from roadworthy.bundle.frames import json_rows
from roadworthy.serve.bodies import SLICE
from roadworthy.serve.predictions import Predictor
from tests.conftest import Server, Trained, serving
from tests.serve.test_http import wait_for


def row_of(trained: Trained) -> dict:
    return dict(trained.bundle.golden[0].row)


def close(given: dict, wanted: dict) -> bool:
    shares = wanted.get("probabilities", {"": wanted["prediction"]})
    found = given.get("probabilities", {"": given["prediction"]})
    return given["prediction"] == wanted["prediction"] and all(
        abs(found[name] - value) <= 1e-12 * max(1, abs(value)) for name, value in shares.items()
    )


@pytest.mark.parametrize("name", ["binary", "linear", "multiclass", "regression"])
def test_every_holdout_row_is_answered_as_the_bundle_predicts(
    bundles: dict[str, Trained], name: str
) -> None:
    bundle = bundles[name].bundle
    held = bundles[name].table.holdout.frame.select(bundle.contract.names)
    rows = json_rows(held, bundle.contract)
    wanted = bundle.predict(rows)
    with serving(bundle.path) as server:
        for row, expected in zip(rows, wanted, strict=True):
            status, given = server.predict(row)
            assert status == 200
            if name == "regression":
                assert given["prediction"] == pytest.approx(expected["prediction"], rel=1e-12)
            else:
                assert close(given, expected)
        status, many = server.predict(rows)
        assert status == 200
        assert len(many["predictions"]) == len(rows)
        columns = {column: [row[column] for row in rows] for column in rows[0]}
        assert server.predict(columns)[1]["predictions"] == many["predictions"]
        for given, expected in zip(many["predictions"], wanted, strict=True):
            assert given["prediction"] == pytest.approx(expected["prediction"])


def test_an_answer_says_who_gave_it(server: Server, bundles: dict[str, Trained]) -> None:
    bundle = bundles["binary"].bundle
    body = json.dumps(row_of(bundles["binary"])).encode()
    status, headers, content = server.request(
        "POST", "/predict", body, Content_Type="application/json", X_Request_ID="order-17.a_b"
    )
    answer = json.loads(content)
    assert status == 200
    assert headers["content-type"] == "application/json"
    assert answer["request_id"] == headers["x-request-id"] == "order-17.a_b"
    assert (answer["model"], answer["version"]) == ("adult", bundle.version)
    assert set(answer["probabilities"]) == {"<=50K", ">50K"}
    assert sum(answer["probabilities"].values()) == pytest.approx(1)
    assert answer["warnings"] == []


@pytest.mark.parametrize("given", ["a b", "x" * 65, "<script>", ""])
def test_a_request_id_that_is_none_is_replaced(server: Server, bundles, given: str) -> None:
    body = json.dumps(row_of(bundles["binary"])).encode()
    _, headers, _ = server.request(
        "POST", "/predict", body, Content_Type="application/json", X_Request_ID=given
    )
    assert re.fullmatch(r"[0-9a-f]{12}-[0-9a-f]+", headers["x-request-id"])


def test_blank_unseen_and_out_of_range_are_answered_with_a_warning(
    server: Server, bundles: dict[str, Trained]
) -> None:
    row = row_of(bundles["binary"])
    odd = {**row, "workclass": None, "occupation": "astronaut", "age": 200, "colour": "red"}
    status, answer = server.predict(odd)
    assert status == 200
    assert {(w["column"], w["code"]) for w in answer["warnings"]} == {
        ("workclass", "blank"), ("occupation", "unseen"), ("age", "out_of_range"),
        ("colour", "unknown"),
    }  # fmt: skip
    assert "astronaut" not in json.dumps(answer)
    status, answer = server.predict([row, odd])
    assert {w.get("row") for w in answer["warnings"]} == {1, None}  # "colour" is told once
    assert close(answer["predictions"][0], server.predict(row)[1])


def test_columns_of_the_table_that_the_model_does_not_use_are_taken_in_silence(
    bundles: dict[str, Trained], server: Server
) -> None:
    row = row_of(bundles["binary"])
    status, answer = server.predict({**row, "income": ">50K"})
    assert (status, answer["warnings"]) == (200, [])


def test_order_white_space_escapes_and_spelling_do_not_matter(
    server: Server, bundles: dict[str, Trained]
) -> None:
    row = row_of(bundles["binary"])
    wanted = server.predict(row)[1]["probabilities"]
    turned = dict(reversed(row.items()))
    texts = [
        json.dumps(turned),
        json.dumps(row, indent=3),
        "  \n" + json.dumps(row),
        json.dumps(row).replace("age", "\\u0061ge"),
        json.dumps({k: f"  {v} " if isinstance(v, str) else v for k, v in row.items()}),
        json.dumps({k: float(v) if isinstance(v, int) else v for k, v in row.items()}),
    ]
    for text in texts:
        status, answer = server.predict(text.encode())
        assert (status, answer["probabilities"]) == (200, wanted)


CELLS = st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(
    max_size=8
) | st.lists(st.integers(), max_size=2)  # fmt: skip


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(changes=st.dictionaries(st.sampled_from(["age", "sex", "capital-gain", "x", ""]), CELLS))
def test_any_cells_are_answered_or_refused_as_the_bundle_does(
    server: Server, bundles: dict[str, Trained], changes: dict
) -> None:
    bundle = bundles["binary"].bundle
    row = {**row_of(bundles["binary"]), **changes}
    problems: list = []
    bundle.contract.read_row(row, problems)
    status, answer = server.predict(row)
    if problems:
        assert status == 422
        assert {e["column"] for e in answer["errors"]} == {p.column for p in problems}
    else:
        assert status == 200
        assert close(answer, bundle.predict(row))


def test_many_clients_at_once_each_get_their_own_answer(
    server: Server, bundles: dict[str, Trained]
) -> None:
    golden = bundles["binary"].bundle.golden

    def ask(number: int) -> bool:
        case = golden[number % len(golden)]
        status, answer = server.predict(case.row)
        return status == 200 and close(answer, case.expected)

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert all(pool.map(ask, range(600)))


def test_metrics_count_what_happened(bundles: dict[str, Trained]) -> None:
    row = row_of(bundles["binary"])
    with serving(bundles["binary"].bundle.path) as server:
        server.predict(row)
        server.predict([row, {**row, "workclass": None, "age": 999}])
        server.predict({**row, "sex": "new"})
        server.predict(b"{")
        status, headers, content = server.get("/metrics")
    assert (status, headers["content-type"].split(";")[0]) == (200, "text/plain")
    text = content.decode()
    for line in (
        'roadworthy_requests_total{code="200",model="adult",route="/predict"} 3.0',
        'roadworthy_requests_total{code="400",model="adult",route="/predict"} 1.0',
        'roadworthy_rows_total{model="adult"} 4.0',
        'roadworthy_blank_total{column="workclass",model="adult"} 1.0',
        'roadworthy_unseen_total{column="sex",model="adult"} 1.0',
        'roadworthy_out_of_range_total{column="age",model="adult"} 1.0',
        'roadworthy_request_duration_seconds_count{model="adult"} 3.0',
    ):
        assert line in text
    predicted = re.findall(r"roadworthy_predictions_total\{.*\} (\d+)", text)
    assert sum(map(int, predicted)) == 4


def test_several_workers_answer_and_add_up_their_counts(bundles: dict[str, Trained]) -> None:
    row = row_of(bundles["binary"])
    with serving(bundles["binary"].bundle.path, "--workers", "2") as server:
        for _ in range(60):
            assert server.predict(row)[0] == 200
        counted = b'roadworthy_rows_total{model="adult"} 60.0'  # shared once a second
        wait_for(lambda: counted in server.get("/metrics")[2])


def test_the_description_is_valid_and_true(server: Server, bundles: dict[str, Trained]) -> None:
    document = json.loads(server.get("/openapi.json")[2])
    validate(document)
    schemas = document["components"]["schemas"]
    operation = document["paths"]["/predict"]["post"]
    answers = operation["responses"]["200"]["content"]["application/json"]["schema"]
    root = {**answers, "components": document["components"]}
    row = row_of(bundles["binary"])
    for body in (row, [row, row], {**row, "age": None}):
        jsonschema.validate(server.predict(body)[1], root)
        request = operation["requestBody"]["content"]["application/json"]["schema"]
        jsonschema.validate(body, {**request, "components": document["components"]})
    refused = server.predict({})[1]
    jsonschema.validate(refused, schemas["Problem"])
    assert schemas["Row"]["required"] == list(bundles["binary"].bundle.contract.names)


def test_the_small_pages(server: Server, bundles: dict[str, Trained]) -> None:
    bundle = bundles["binary"].bundle
    assert server.get("/livez")[::2] == (200, b'{"status":"live"}')
    assert server.get("/readyz")[::2] == (200, b'{"status":"ready"}')
    metadata = json.loads(server.get("/metadata")[2])
    assert (metadata["version"], metadata["target"]) == (bundle.version, "income")
    assert metadata["classes"] == ["<=50K", ">50K"]
    contract = json.loads(server.get("/contract")[2])
    assert [c["name"] for c in contract["columns"]] == list(bundle.contract.names)
    assert server.predict(contract["example"])[0] == 200
    assert server.request("HEAD", "/readyz")[::2] == (200, b"")
    status, headers, content = server.get("/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b'href="docs"' in content


def test_answers_in_flight_are_finished_on_sigterm(bundles: dict[str, Trained]) -> None:
    row = row_of(bundles["binary"])
    body = json.dumps([row] * 20_000).encode()  # about a second of work
    server = Server(bundles["binary"].bundle.path)
    answered: list[int] = []
    try:
        client = threading.Thread(
            target=lambda: answered.append(len(server.predict(body)[1]["predictions"]))
        )
        client.start()
        time.sleep(0.15)
        server.process.send_signal(signal.SIGTERM)
        client.join(30)
        assert answered == [20_000]
        assert server.process.wait(30) == 0
    finally:
        server.stop()


def test_a_request_whose_body_was_on_its_way_at_sigterm_is_answered(
    bundles: dict[str, Trained],
) -> None:
    body = json.dumps([row_of(bundles["binary"])]).encode()
    head = "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    with serving(bundles["binary"].bundle.path, "--workers", "1") as server:
        address = ("127.0.0.1", server.port)
        idle = http.client.HTTPConnection(*address, timeout=120)
        with socket.create_connection(address, timeout=120) as held:
            held.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:9])
            idle.request("GET", "/livez")  # when that is answered, what came before has been read
            assert idle.getresponse().read()
            server.process.send_signal(signal.SIGTERM)
            assert idle.sock is not None
            assert idle.sock.recv(1) == b""  # it drains
            held.sendall(body[9:])
            answer = http.client.HTTPResponse(held)
            answer.begin()
            assert answer.status == 200
            assert len(json.loads(answer.read())["predictions"]) == 1
        assert server.process.wait(120) == 0


def test_ctrl_c_stops_the_server_quietly(bundles: dict[str, Trained]) -> None:
    server = Server(bundles["binary"].bundle.path)
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(30) == 0
    server.stop()
    assert "Traceback" not in "".join(server.log)


def test_absent_columns_are_blanks_where_the_project_says_so(
    bundles: dict[str, Trained], tmp_path
) -> None:
    (tmp_path / "roadworthy.toml").write_text("[serve]\nabsent = 'blank'\nmax_rows = 3\n")
    row = row_of(bundles["binary"])
    del row["age"]
    with serving(bundles["binary"].bundle.path, cwd=tmp_path) as server:
        status, answer = server.predict(row)
        assert status == 200
        assert [w["column"] for w in answer["warnings"]] == ["age"]
        assert server.predict([row] * 4)[0] == 413


def test_classes_and_dates_of_every_sort_are_served(tmp_path) -> None:
    import numpy as np
    import polars as pl

    import roadworthy as rw

    random = np.random.default_rng(0)
    x = random.normal(size=300)
    classes = ['5" pipe', "back\\slash", "new\nline"]
    frame = pl.DataFrame(
        {
            "x": x,
            "when": pl.Series(random.integers(0, 2**31, 300)).cast(pl.Datetime("ms")),
            "y": [classes[k] for k in np.digitize(x, [-0.5, 0.5])],
        }
    )
    table = rw.read_table(frame, "y", name="odd")
    model = rw.train(table, "20s")
    bundle = rw.package(model, rw.test(model, table.holdout), directory=tmp_path)
    with serving(bundle.path) as server:
        status, answer = server.predict({"x": 3.0, "when": "2020-01-31"})
        assert (status, set(answer["probabilities"])) == (200, set(classes))
        for text in ("0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59.999999", "0000-01-01", "x"):
            for rows in ({"x": 1, "when": text}, [{"x": 1, "when": text}]):
                status, answer = server.predict(rows)
                assert status == 422
                assert answer["errors"][0]["column"] == "when"
        for text in ("0001-01-01", "9999-12-31", "2020-02-29T12:00:00Z", "2020-02-29 12:00"):
            assert server.predict({"x": 1, "when": text})[0] == 200


LARGE = 16 * SLICE


@pytest.mark.parametrize("form", ["rows", "columns", "lines"])
def test_single_rows_are_answered_between_the_slices_of_a_large_request(
    bundles: dict[str, Trained], form: str
) -> None:
    predictor = Predictor(bundles["binary"].bundle, LARGE)
    row = row_of(bundles["binary"])
    one = json.dumps(row).encode()
    columns = {name: [cell] * LARGE for name, cell in row.items()}
    answered = 0

    async def ask() -> bytes:
        if form == "lines":
            encoded = await predictor.reader.lines(b"\n".join([one] * LARGE))
            return predictor.encode(await predictor.batch(encoded, "large"), "large")
        body = json.dumps(columns if form == "columns" else [row] * LARGE).encode()
        return await predictor.json(body, "large")

    async def both() -> bytes:
        nonlocal answered
        large = asyncio.create_task(ask())
        while not large.done():
            await asyncio.sleep(0)
            assert predictor.one(one, "small") is not None
            answered += 1
        return await large

    assert len(json.loads(asyncio.run(both()))["predictions"]) == LARGE
    assert answered >= LARGE // SLICE


def test_who_is_told_of_a_batch_is_told_how_long_it_took(bundles: dict[str, Trained]) -> None:
    predictor = Predictor(bundles["binary"].bundle, LARGE)
    told: list[float] = []
    predictor.on_batch = lambda encoded, batch, seconds: told.append(seconds)
    body = json.dumps([row_of(bundles["binary"])] * (2 * SLICE)).encode()
    began = time.perf_counter()
    asyncio.run(predictor.json(body, "id"))
    assert 0 < told[0] < time.perf_counter() - began
