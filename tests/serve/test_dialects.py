"""Dialects: the same row, the same prediction, however other servers are asked."""

from __future__ import annotations

import csv
import http.client
import io
import json
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Server, Trained, free_port, serving
from tests.serve.test_bad_input import ROW

NAMES = list(ROW)
JSON = {"Content_Type": "application/json"}


@pytest.fixture(scope="module")
def vertex(
    bundles: dict[str, Trained], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server that was started by Vertex."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIP_HEALTH_ROUTE", "/v1/endpoints/7/health")
        patch.setenv("AIP_PREDICT_ROUTE", "/v1/endpoints/7:predict")
        with serving(bundles["binary"].bundle.path) as running:
            yield running


def columns(rows: list[dict]) -> dict[str, list]:
    return {name: [row[name] for row in rows] for name in NAMES}


def cells(rows: list[dict]) -> list[list]:
    return [[row[name] for name in NAMES] for row in rows]


def text(rows: list[dict], header: bool) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out)
    if header:
        writer.writerow(NAMES)
    writer.writerows(cells(rows))
    return out.getvalue().encode()


def ask(server: Server, path: str, content: Any, **headers: str) -> Any:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    status, _, answer = server.request("POST", path, body, **{**JSON, **headers})
    assert status == 200, answer
    return json.loads(answer)


def tensors(rows: list[dict]) -> list[dict]:
    return [
        {
            "name": name,
            "shape": [len(rows), 1],
            "datatype": "BYTES" if isinstance(ROW[name], str) else "FP64",
            "data": values,
        }
        for name, values in columns(rows).items()
    ]


def binary(rows: list[dict]) -> tuple[bytes, int]:
    """A request in the binary extension; numbers may be NaN there, texts must not be blank."""
    parts = []
    inputs = tensors(rows)
    for tensor in inputs:
        data = tensor.pop("data")
        if tensor["datatype"] == "BYTES":
            part = b"".join(struct.pack("<I", len(t.encode())) + t.encode() for t in data)
        else:
            part = np.array(data, dtype="<f8").tobytes()
        tensor["parameters"] = {"binary_data_size": len(part)}
        parts.append(part)
    head = json.dumps({"inputs": inputs}).encode()
    return head + b"".join(parts), len(head)


def invoke(form: Callable[[list[dict]], Any]) -> Callable[[Server, list[dict]], list]:
    return lambda server, rows: ask(server, "/invocations", form(rows))["predictions"]


def of_tensors(answer: dict) -> list:
    (found,) = [output for output in answer["outputs"] if output["name"] == "predict"]
    assert found["shape"] == [len(found["data"])]
    return found["data"]


DIALECTS: dict[str, Callable[[Server, list[dict]], list]] = {
    "MLflow dataframe_split": invoke(
        lambda rows: {"dataframe_split": {"columns": NAMES, "data": cells(rows), "index": [0]}}
    ),
    "MLflow dataframe_records": invoke(lambda rows: {"dataframe_records": rows}),
    "MLflow instances": invoke(lambda rows: {"instances": rows}),
    "MLflow inputs": invoke(lambda rows: {"inputs": columns(rows)}),
    "MLflow inputs of rows": invoke(lambda rows: {"inputs": rows, "params": {}}),
    "KServe objects": lambda server, rows: ask(
        server, "/v1/models/adult:predict", {"instances": rows}
    )["predictions"],
    "KServe lists": lambda server, rows: ask(
        server, "/v1/models/adult:predict", {"instances": cells(rows)}
    )["predictions"],
    "Azure input_data": lambda server, rows: ask(
        server, "/score", {"input_data": {"columns": NAMES, "data": cells(rows)}}
    ),
    "Azure Inputs": lambda server, rows: ask(
        server, "/score", {"Inputs": {"data": rows}, "GlobalParameters": {}}
    )["Results"],
    "Azure data": lambda server, rows: ask(server, "/score", {"data": cells(rows)}),
    "Open Inference": lambda server, rows: of_tensors(
        ask(server, "/v2/models/adult/infer", {"id": "7", "inputs": tensors(rows)})
    ),
    "SageMaker CSV": lambda server, rows: ask(
        server, "/invocations", text(rows, header=False), Content_Type="text/csv"
    )["predictions"],
    "MLflow CSV": lambda server, rows: ask(
        server, "/invocations", text(rows, header=True), Content_Type="text/csv"
    )["predictions"],
    "CSV of a spreadsheet": lambda server, rows: ask(
        server, "/invocations", text(rows, header=True).replace(b",", b";"), Content_Type="text/csv"
    )["predictions"],
    "SageMaker JSON lines": lambda server, rows: [
        json.loads(line)["prediction"]
        for line in server.request(
            "POST", "/invocations", "\n".join(map(json.dumps, rows)).encode(),
            Content_Type="application/jsonlines",
        )[2].splitlines()
    ],
}  # fmt: skip

GOOD = st.fixed_dictionaries(
    {
        **{name: st.just(cell) for name, cell in ROW.items()},
        "age": st.none() | st.integers(0, 120),
        "capital-gain": st.floats(-1e6, 1e6) | st.integers(0, 100_000),
        "occupation": st.none() | st.sampled_from(["Sales", "Exec-managerial", "unheard of"]),
        "sex": st.sampled_from(["Male", "Female"]),
        "hours-per-week": st.integers(0, 99),
    }
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=st.lists(GOOD, min_size=1, max_size=4))
def test_the_same_row_has_the_same_prediction_in_every_dialect(
    server: Server, vertex: Server, rows: list[dict]
) -> None:
    native = server.predict(rows)[1]["predictions"]
    wanted = [answer["prediction"] for answer in native]
    for name, asked in DIALECTS.items():
        assert asked(server, rows) == wanted, name
    answer = ask(vertex, "/v1/endpoints/7:predict", {"instances": rows})
    assert answer["predictions"] == wanted
    shares = ask(
        server, "/invocations", {"instances": rows, "params": {"predict_method": "predict_proba"}}
    )["predictions"]
    assert shares == [list(answer["probabilities"].values()) for answer in native]


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=st.lists(GOOD.filter(lambda row: row["occupation"]), min_size=1, max_size=4))
def test_binary_tensors_mean_what_json_does(server: Server, rows: list[dict]) -> None:
    body, length = binary(rows)
    wanted = server.predict(rows)[1]["predictions"]
    answer = ask(
        server, "/v2/models/adult/infer", body, Inference_Header_Content_Length=str(length)
    )
    assert of_tensors(answer) == [row["prediction"] for row in wanted]
    request = {"inputs": tensors(rows), "parameters": {"binary_data_output": True}}
    _, headers, content = server.request(
        "POST", "/v2/models/adult/infer", json.dumps(request).encode(), **JSON
    )
    size = int(headers["inference-header-content-length"])
    outputs = {output["name"]: output for output in json.loads(content[:size])["outputs"]}
    sizes = [outputs[n]["parameters"]["binary_data_size"] for n in ("predict", "predict_proba")]
    assert len(content) == size + sum(sizes)
    shares = np.frombuffer(content[size + sizes[0] :], "<f8").reshape(-1, 2)
    assert shares.tolist() == [list(row["probabilities"].values()) for row in wanted]


def test_one_tensor_of_all_columns_is_read_in_the_contracts_order(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    import polars as pl

    import roadworthy as rw

    x = np.random.default_rng(0).normal(size=(300, 3))
    frame = pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "y": x[:, 0] > x[:, 1]})
    data = rw.read_table(frame, "y", name="numbers")
    model = rw.train(data, "20s")
    bundle = rw.package(model, rw.test(model, data.holdout), directory=tmp_path)
    rows = [{"a": 1.0, "b": -1.0, "c": 0.0}, {"a": -1.0, "b": 1.0, "c": 0.0}]
    with serving(bundle.path) as server:
        wanted = [row["prediction"] for row in server.predict(rows)[1]["predictions"]]
        tensor = {"name": "input-0", "shape": [2, 3], "datatype": "FP32"}
        for cells_ in ([1, -1, 0, -1, 1, 0], [[1, -1, 0], [-1, 1, 0]]):
            answer = ask(
                server, "/v2/models/numbers/infer", {"inputs": [{**tensor, "data": cells_}]}
            )
            assert of_tensors(answer) == wanted
            assert answer["outputs"][0]["datatype"] == "BOOL"


def test_health_and_metadata_of_every_dialect(server: Server, vertex: Server) -> None:
    for path in (
        "/ping", "/health", "/version", "/v2", "/v2/health/live", "/v2/health/ready",
        "/v2/models/adult/ready", "/v1/models/adult", "/startupz",
    ):  # fmt: skip
        assert server.get(path)[0] == 200, path
    assert vertex.get("/v1/endpoints/7/health")[0] == 200
    assert json.loads(server.get("/v1/models/adult")[2]) == {"name": "adult", "ready": True}
    about = json.loads(server.get("/v2/models/adult")[2])
    assert [tensor["name"] for tensor in about["inputs"]] == NAMES
    assert [tensor["name"] for tensor in about["outputs"]] == ["predict", "predict_proba"]
    (version,) = about["versions"]
    path = f"/v2/models/adult/versions/{version}"
    assert server.get(f"{path}/ready")[0] == 200
    assert of_tensors(ask(server, f"{path}/infer", {"inputs": tensors([ROW])})) == ["<=50K"]
    assert server.get("/v2/models/adult/versions/no/ready")[0] == 404


def test_answers_take_the_type_that_is_asked_for(server: Server) -> None:
    body = text([ROW, ROW], header=False)
    _, headers, content = server.request(
        "POST", "/invocations", body, Content_Type="text/csv", Accept="text/csv"
    )
    assert (headers["content-type"], content) == ("text/csv; charset=utf-8", b"<=50K\n<=50K\n")


INPUT = {"name": "age", "shape": [1], "datatype": "FP64", "data": [1]}
REFUSED: dict[str, tuple[str, Any]] = {
    "MLflow: two forms": ("/invocations", {"instances": [ROW], "inputs": [ROW]}),
    "MLflow: no form": ("/invocations", {"rows": [ROW]}),
    "MLflow: a list": ("/invocations", [ROW]),
    "MLflow: rows of no length": ("/invocations", {"instances": []}),
    "MLflow: a short row": ("/invocations", {"instances": [[1, 2]]}),
    "MLflow: split without data": ("/invocations", {"dataframe_split": {"columns": NAMES}}),
    "MLflow: split without columns": ("/invocations", {"dataframe_split": {"data": [[1]]}}),
    "MLflow: split of a text": ("/invocations", {"dataframe_split": "x"}),
    "MLflow: a column twice": (
        "/invocations", {"dataframe_split": {"columns": ["age", "age"], "data": [[1, 2]]}}),
    "MLflow: columns of numbers": (
        "/invocations", {"dataframe_split": {"columns": [1], "data": [[1]]}}),
    "MLflow: records of texts": ("/invocations", {"dataframe_records": ["x"]}),
    "MLflow: inputs of a number": ("/invocations", {"inputs": 7}),
    "MLflow: inputs of unlike lengths": ("/invocations", {"inputs": {"age": [1], "sex": []}}),
    "MLflow: an unknown parameter": ("/invocations", {"instances": [ROW], "params": {"x": 1}}),
    "MLflow: an unknown method": (
        "/invocations", {"instances": [ROW], "params": {"predict_method": "magic"}}),
    "MLflow: a wrong cell": ("/invocations", {"instances": [{**ROW, "age": "x"}]}),
    "MLflow: a key twice": ("/invocations", b'{"instances": [], "instances": []}'),
    "MLflow: no JSON": ("/invocations", b"{"),
    "KServe: no instances": ("/v1/models/adult:predict", {"rows": [ROW]}),
    "KServe: a row by itself": ("/v1/models/adult:predict", {"instances": ROW}),
    "KServe: mixed rows": ("/v1/models/adult:predict", {"instances": [ROW, [1]]}),
    "KServe: a wrong cell": ("/v1/models/adult:predict", {"instances": [{**ROW, "age": True}]}),
    "Azure: nothing": ("/score", {}),
    "Azure: two forms": ("/score", {"data": [ROW], "input_data": [ROW]}),
    "Azure: a text": ("/score", {"input_data": "x"}),
    "Azure: a list": ("/score", [ROW]),
    "v2: no inputs": ("/v2/models/adult/infer", {}),
    "v2: inputs of an object": ("/v2/models/adult/infer", {"inputs": {}}),
    "v2: an empty list": ("/v2/models/adult/infer", {"inputs": []}),
    "v2: no name": ("/v2/models/adult/infer", {"inputs": [{}]}),
    "v2: no shape": ("/v2/models/adult/infer", {"inputs": [{**INPUT, "shape": None}]}),
    "v2: an empty shape": ("/v2/models/adult/infer", {"inputs": [{**INPUT, "shape": []}]}),
    "v2: a negative shape": ("/v2/models/adult/infer", {"inputs": [{**INPUT, "shape": [-1]}]}),
    "v2: a huge shape": ("/v2/models/adult/infer", {"inputs": [{**INPUT, "shape": [2**40]}]}),
    "v2: a wrong shape": ("/v2/models/adult/infer", {"inputs": [{**INPUT, "shape": [2]}]}),
    "v2: three dimensions": ("/v2/models/adult/infer", {"inputs": [{**INPUT, "shape": [1, 1, 1]}]}),
    "v2: an unknown type": ("/v2/models/adult/infer", {"inputs": [{**INPUT, "datatype": "FP8"}]}),
    "v2: no data": ("/v2/models/adult/infer", {"inputs": [{**INPUT, "data": None}]}),
    "v2: an input twice": ("/v2/models/adult/infer", {"inputs": [INPUT, INPUT]}),
    "v2: columns that are missing": ("/v2/models/adult/infer", {"inputs": [INPUT]}),
    "v2: an unknown output": (
        "/v2/models/adult/infer", {"inputs": tensors([ROW]), "outputs": [{"name": "x"}]}),
    "v2: outputs of a text": (
        "/v2/models/adult/infer", {"inputs": tensors([ROW]), "outputs": "predict"}),
    "v2: binary data that is not there": (
        "/v2/models/adult/infer",
        {"inputs": [{**INPUT, "parameters": {"binary_data_size": 8}}]}),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_dialect_refuses_in_its_own_form(server: Server, name: str) -> None:
    path, content = REFUSED[name]
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    status, headers, answer = server.request("POST", path, body, **JSON)
    assert 400 <= status < 500, answer
    problem = json.loads(answer)
    said = problem.get("error") or problem.get("message")
    assert said
    assert isinstance(said, str)
    assert headers["x-request-id"]


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), path=st.sampled_from(
    ["/invocations", "/score", "/v1/models/adult:predict", "/v2/models/adult/infer"]
))  # fmt: skip
def test_no_json_at_all_ends_in_a_server_error(
    server: Server, data: st.DataObject, path: str
) -> None:
    leaves = st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.just(ROW)
    keys = st.sampled_from(
        ["instances", "inputs", "dataframe_split", "columns", "data", "name", "shape", "datatype",
         "params", "parameters", "outputs", "input_data", "binary_data_size"]
    )  # fmt: skip
    content = data.draw(
        st.recursive(
            leaves,
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
            max_leaves=12,
        )
    )
    status, _, answer = server.request("POST", path, json.dumps(content).encode(), **JSON)
    assert status < 500
    json.loads(answer)


def places(node: Any, way: tuple = ()) -> Iterator[tuple]:
    """The way to everything in a document."""
    yield way
    for key in node if isinstance(node, dict) else range(len(node) if type(node) is list else 0):
        yield from places(node[key], (*way, key))


GOOD: dict[str, Any] = {
    "/predict": [ROW, ROW],
    "/predict?columns": columns([ROW, ROW]),
    "/invocations": {"dataframe_split": {"columns": NAMES, "index": [0], "data": cells([ROW])},
                     "params": {"predict_method": "predict"}},
    "/invocations?records": {"dataframe_records": [ROW]},
    "/invocations?inputs": {"inputs": columns([ROW])},
    "/v1/models/adult:predict": {"instances": [ROW]},
    "/score": {"input_data": {"columns": NAMES, "index": [0], "data": cells([ROW])}},
    "/score?inputs": {"Inputs": {"data": [ROW]}, "GlobalParameters": {}},
    "/v2/models/adult/infer": {
        "id": "a", "inputs": tensors([ROW]), "outputs": [{"name": "predict"}],
        "parameters": {"content_type": "pd"},
    },
}  # fmt: skip
ODD = ["null", "true", "-1", "0.5", '""', '"\\u0000"', "[]", "{}", "[[]]", "[null]", '{"a": 1}',
       "1e400", "9" * 5000, '{"a": 1, "a": 2}', "[" * 600 + "]" * 600]  # fmt: skip


@pytest.mark.parametrize("path", GOOD)
def test_whatever_stands_in_one_place_of_a_good_request_is_no_fault(
    server: Server, path: str
) -> None:
    for *way, last in list(places([GOOD[path]]))[1:]:
        whole: Any = json.loads(json.dumps([GOOD[path]]))
        node = whole
        for key in way:
            node = node[key]
        node[last] = "@"
        before, after = json.dumps(whole[0]).split('"@"')
        for odd in ODD:
            status, _, answer = server.request(
                "POST", path, (before + odd + after).encode(), **JSON
            )
            assert status < 500, (way, last, odd, answer)
            json.loads(answer)


@pytest.mark.parametrize(
    ("port", "folder"),
    [("AIP_HTTP_PORT", "AZUREML_MODEL_DIR"), ("SAGEMAKER_BIND_TO_PORT", "AZUREML_MODEL_DIR")],
)
def test_a_cloud_says_where_the_model_is_and_where_to_listen(
    bundles: dict[str, Trained], monkeypatch: pytest.MonkeyPatch, port: str, folder: str
) -> None:
    chosen = free_port()
    monkeypatch.setenv(port, str(chosen))
    monkeypatch.setenv(folder, str(bundles["binary"].bundle.path))
    process = subprocess.Popen([sys.executable, "-m", "roadworthy", "serve", "--quiet"])
    try:
        for _ in range(400):
            try:
                connection = http.client.HTTPConnection("127.0.0.1", chosen, timeout=5)
                connection.request("GET", "/ping")
                assert connection.getresponse().status == 200
                break
            except OSError:
                time.sleep(0.05)
        else:
            raise AssertionError("nothing answers where the environment says")
    finally:
        process.terminate()
        assert process.wait(40) == 0
