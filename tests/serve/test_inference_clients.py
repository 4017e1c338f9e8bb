"""The Open Inference Protocol with Triton's own clients, over REST and gRPC."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tritonclient.utils import InferenceServerException

from tests.conftest import Server, Trained, free_port, serving
from tests.serve.test_bad_input import ROW

NUMBERS = [name for name, cell in ROW.items() if not isinstance(cell, str)]


@pytest.fixture(scope="module")
def port(
    bundles: dict[str, Trained], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, int]]:
    folder = tmp_path_factory.mktemp("grpc")
    chosen = free_port()
    key = {"name": "till", "sha256": hashlib.sha256(b"good").hexdigest()}
    (folder / "keys.json").write_text(json.dumps([key]))
    (folder / "roadworthy.toml").write_text(
        f"[serve]\ngrpc_port = {chosen}\nkeys = 'keys.json'\nmax_body_mb = 1\n"
    )
    with serving(bundles["binary"].bundle.path, "--workers", "2", cwd=folder) as running:
        yield running, chosen


@pytest.fixture
def remote(port: tuple[Server, int]) -> Iterator[triton_grpc.InferenceServerClient]:
    with triton_grpc.InferenceServerClient(f"127.0.0.1:{port[1]}") as client:
        yield client


def inputs(module, rows: list[dict]) -> list:
    made = []
    for name in ROW:
        number = name in NUMBERS
        cells = [np.nan if row[name] is None else row[name] for row in rows]
        array = np.array(cells, dtype=np.float64 if number else object)
        made.append(module.InferInput(name, [len(rows)], "FP64" if number else "BYTES"))
        made[-1].set_data_from_numpy(array)
    return made


def texts(array: np.ndarray) -> list[str]:
    return [cell.decode() if isinstance(cell, bytes) else cell for cell in array]


GOOD = st.fixed_dictionaries(
    {
        **{name: st.just(cell) for name, cell in ROW.items()},
        "age": st.none() | st.integers(0, 120),
        "capital-gain": st.floats(-1e6, 1e6),
        "occupation": st.sampled_from(["Sales", "Exec-managerial", "unheard of", "Gärtner"]),
    }
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=st.lists(GOOD, min_size=1, max_size=4))
def test_tritons_clients_get_the_predictions_of_json(
    server: Server, remote: triton_grpc.InferenceServerClient, rows: list[dict]
) -> None:
    native = server.predict(rows)[1]["predictions"]
    wanted = [answer["prediction"] for answer in native]
    shares = [list(answer["probabilities"].values()) for answer in native]
    with triton_http.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        answer = client.infer("adult", inputs(triton_http, rows))
        assert texts(answer.as_numpy("predict")) == wanted
        assert answer.as_numpy("predict_proba").tolist() == shares
    asked = [triton_grpc.InferRequestedOutput(n) for n in ("predict_proba", "predict")]
    answer = remote.infer(
        "adult", inputs(triton_grpc, rows), outputs=asked, headers={"x-api-key": "good"},
        request_id="7",
    )  # fmt: skip
    assert texts(answer.as_numpy("predict")) == wanted
    assert answer.as_numpy("predict_proba").tolist() == shares
    assert answer.get_response().id == "7"


def test_the_clients_see_health_and_metadata(
    server: Server, remote: triton_grpc.InferenceServerClient
) -> None:
    with triton_http.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        for one in (client, remote):
            assert one.is_server_live()
            assert one.is_server_ready()
            assert one.is_model_ready("adult")
        about = client.get_model_metadata("adult")
        assert client.get_server_metadata()["name"] == "roadworthy"
    assert remote.get_server_metadata().name == "roadworthy"
    same = remote.get_model_metadata("adult")
    assert [tensor.name for tensor in same.inputs] == [t["name"] for t in about["inputs"]]
    assert remote.is_model_ready("adult", about["versions"][0])


def test_grpc_refuses_with_a_code_and_a_reason(
    port: tuple[Server, int], remote: triton_grpc.InferenceServerClient
) -> None:
    good = {"x-api-key": "good"}
    whole = inputs(triton_grpc, [ROW])
    twice = [*whole, whole[0]]
    wrong = inputs(triton_grpc, [ROW])
    wrong[0] = triton_grpc.InferInput("age", [1], "BYTES")
    wrong[0].set_data_from_numpy(np.array(["old"], dtype=object))
    large = inputs(triton_grpc, [{**ROW, "sex": "a" * 900_000}] * 2)
    cases = [
        ("adult", whole, {}, "UNAUTHENTICATED", "key"),
        ("adult", whole, {"x-api-key": "bad"}, "UNAUTHENTICATED", "not known"),
        ("other", whole, good, "NOT_FOUND", "adult"),
        ("adult", whole[1:], good, "INVALID_ARGUMENT", "absent"),
        ("adult", twice, good, "INVALID_ARGUMENT", "twice"),
        ("adult", wrong, good, "INVALID_ARGUMENT", "expected a number"),
        ("adult", large, good, "RESOURCE_EXHAUSTED", ""),
    ]
    for model, tensors, headers, code, reason in cases:
        with pytest.raises(InferenceServerException) as caught:
            remote.infer(model, tensors, headers=headers)
        assert code in str(caught.value.status())
        assert reason in caught.value.message()
        assert "old" not in caught.value.message()
    with pytest.raises(InferenceServerException):
        remote.infer("adult", whole, model_version="none", headers=good)
    assert "Traceback" not in "".join(port[0].log)
