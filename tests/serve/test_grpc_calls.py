"""A gRPC call is limited, traced, counted and logged as a request over HTTP is."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from cryptography import x509
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from tests.conftest import Server, Trained, free_port, serving
from tests.serve.test_bad_input import ROW
from tests.serve.test_guard import certificate
from tests.serve.test_http import wait_for
from tests.serve.test_inference_clients import NUMBERS
from tests.serve.test_telemetry import PARENT, TRACE, Collector, attributes, collector

__all__ = ["collector"]
SERVICE = "/inference.GRPCInferenceService/"


def infer(row: dict = ROW) -> bytes:
    """One row as a message, its cells in typed lists."""
    message = service_pb2.ModelInferRequest(model_name="adult")
    for name, cell in row.items():
        number = name in NUMBERS
        tensor = message.inputs.add(name=name, datatype="FP64" if number else "BYTES", shape=[1])
        if number:
            tensor.contents.fp64_contents.append(np.nan if cell is None else cell)
        else:
            tensor.contents.bytes_contents.append(cell.encode())
    return message.SerializeToString()


def call(
    channel: grpc.Channel, method: str, content: bytes, **metadata: str
) -> tuple[str, str, dict[str, str]]:
    """Status, reason, and what is said at the end of a call of plain bytes."""
    told = [(name.lower().replace("_", "-"), value) for name, value in metadata.items()]
    try:
        done = channel.unary_unary(SERVICE + method).with_call(content, metadata=told, timeout=30)
        found = done[1]
    except grpc.RpcError as error:
        found = error
    return found.code().name, found.details() or "", dict(found.trailing_metadata() or ())


@pytest.fixture(scope="module")
def plain(
    bundles: dict[str, Trained], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, grpc.Channel]]:
    folder, port = tmp_path_factory.mktemp("plain"), free_port()
    (folder / "roadworthy.toml").write_text(f"[serve]\ngrpc_port = {port}\n")
    with (
        serving(bundles["binary"].bundle.path, cwd=folder) as server,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        yield server, channel


def test_a_call_is_traced_logged_and_counted_under_its_own_id(
    bundles: dict[str, Trained], tmp_path: Path, collector: Collector
) -> None:
    port = free_port()
    (tmp_path / "roadworthy.toml").write_text(
        f"[serve]\ngrpc_port = {port}\naccess_log = true\notlp = '{collector.address}'\n"
        "otlp_seconds = 1\n"
    )
    parent = f"00-{TRACE}-{PARENT}-01"
    with (
        serving(bundles["binary"].bundle.path, cwd=tmp_path) as server,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        good = call(channel, "ModelInfer", infer(), x_request_id="mine-7", traceparent=parent)
        bad = call(channel, "ModelInfer", infer({"age": 1}), x_request_id="not an id")
        call(channel, "ServerLive", b"")
        wait_for(lambda: len(collector.spans) >= 3)

        def lines() -> list[dict]:
            return [json.loads(line) for line in server.log if '"/grpc/' in line]

        wait_for(lambda: len(lines()) == 3)

        def counted() -> set[str]:
            told = server.get("/metrics")[2].decode().splitlines()
            its = [line for line in told if 'route="/grpc/ModelInfer"' in line]
            return {code for code in ("200", "422") for line in its if f'code="{code}"' in line}

        wait_for(lambda: counted() == {"200", "422"})
    assert good[0] == "OK"
    assert good[2]["x-request-id"] == "mine-7"
    (span,) = [one for one in collector.spans if one.trace_id.hex() == TRACE]
    assert good[2]["traceparent"] == f"00-{TRACE}-{span.span_id.hex()}-01"
    assert (span.name, span.parent_span_id.hex()) == ("POST /grpc/ModelInfer", PARENT)
    assert attributes(span)["roadworthy.request_id"] == "mine-7"
    assert attributes(span)["roadworthy.model"] == "adult"
    assert bad[0] == "INVALID_ARGUMENT"
    assert len(bad[2]["x-request-id"]) == 32  # ours: theirs was no good
    first, second, live = lines()
    assert (first["request_id"], first["status"], first["trace_id"]) == ("mine-7", 200, TRACE)
    assert (second["request_id"], second["status"]) == (bad[2]["x-request-id"], 422)
    assert (live["route"], live["body_bytes"]) == ("/grpc/ServerLive", 0)
    assert first["body_bytes"] == len(infer())


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.integers(0, 10_000), noise=st.binary(min_size=1, max_size=8))
def test_a_damaged_message_is_refused_or_read_and_never_a_fault(
    plain: tuple[Server, grpc.Channel], place: int, noise: bytes
) -> None:
    server, channel = plain
    content = bytearray(infer())
    at = place % len(content)
    content[at : at + len(noise)] = noise
    status, _, told = call(channel, "ModelInfer", bytes(content))
    assert status in ("OK", "INVALID_ARGUMENT", "NOT_FOUND")
    assert told["x-request-id"]
    assert not any(word in "".join(server.log) for word in ("Traceback", "Exception", "failed:"))


def test_what_is_no_message_is_refused_as_such(plain: tuple[Server, grpc.Channel]) -> None:
    status, reason, _ = call(plain[1], "ModelInfer", b"\xff" * 20)
    assert (status, reason) == (
        "INVALID_ARGUMENT", "the message is not what the protocol describes"
    )  # fmt: skip
    assert call(plain[1], "ModelInfer", b"\x0a\x02\xff\xfe")[0] == "INVALID_ARGUMENT"  # no UTF-8
    assert call(plain[1], "NoSuchMethod", b"")[0] == "UNIMPLEMENTED"


def test_an_address_is_held_to_its_rate_over_http_and_grpc_alike(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    port = free_port()
    (tmp_path / "roadworthy.toml").write_text(
        f"[serve]\ngrpc_port = {port}\nrate_client = 0.001\nburst_client = 3\n"
        "trusted_proxies = ['127.0.0.0/8']\nproxy_header = 'forwarded'\n"
    )
    one, other = "for=203.0.113.1;proto=https", "for=203.0.113.2"
    with (
        serving(bundles["binary"].bundle.path, cwd=tmp_path) as server,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        # the address that the client claims for itself is not looked at
        claimed = {"X_Forwarded_For": "198.51.100.1"}
        for _ in range(2):
            assert server.request("GET", "/contract", Forwarded=one, **claimed)[0] == 200
        assert call(channel, "ModelInfer", infer(), forwarded=one)[0] == "OK"
        status, reason, told = call(channel, "ModelInfer", infer(), forwarded=one)
        assert status == "RESOURCE_EXHAUSTED"
        assert int(told["retry-after"]) > 900
        assert "more often than allowed" in reason
        refused = server.request("GET", "/contract", Forwarded=f"for=198.51.100.7, {one}")
        assert refused[0] == 429
        assert int(refused[1]["retry-after"]) > 900
        assert server.request("GET", "/livez", Forwarded=one)[0] == 200
        assert call(channel, "ServerLive", b"", forwarded=one)[0] == "OK"
        assert server.request("GET", "/contract", Forwarded=other)[0] == 200


def test_grpcs_own_health_client_sees_the_server_start_and_end(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    port = free_port()
    # health is open, whoever may ask for predictions
    (tmp_path / "keys.json").write_text("[]")
    (tmp_path / "roadworthy.toml").write_text(f"[serve]\ngrpc_port = {port}\nkeys = 'keys.json'\n")
    states = health_pb2.HealthCheckResponse
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        health = health_pb2_grpc.HealthStub(channel)
        with serving(bundles["binary"].bundle.path, cwd=tmp_path):
            for name in ("", "inference.GRPCInferenceService"):
                asked = health_pb2.HealthCheckRequest(service=name)
                assert health.Check(asked, timeout=90).status == states.SERVING
            with pytest.raises(grpc.RpcError) as caught:
                health.Check(health_pb2.HealthCheckRequest(service="other"), timeout=90)
            assert caught.value.code() == grpc.StatusCode.NOT_FOUND
            watched = health.Watch(health_pb2.HealthCheckRequest(), timeout=180)
            unknown = health.Watch(health_pb2.HealthCheckRequest(service="other"), timeout=180)
            assert next(watched).status == states.SERVING
            assert next(unknown).status == states.SERVICE_UNKNOWN
            damaged = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"\xff", timeout=90)
            with pytest.raises(grpc.RpcError) as caught:
                next(damaged)
            assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert [one.status for one in watched] == [states.NOT_SERVING]


def test_calls_over_tls_see_a_new_certificate_while_the_server_runs(
    bundles: dict[str, Trained], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    authority = certificate(tmp_path, "authority", authority=True)
    first, _ = certificate(tmp_path, "server", authority)
    (tmp_path / "roadworthy.toml").write_text(
        f"[serve]\ngrpc_port = {port}\ntls_certificate = 'server.pem'\ntls_key = 'server.key'\n"
    )
    trusted = grpc.ssl_channel_credentials((tmp_path / "authority.pem").read_bytes())

    def serial() -> int:
        """Of the certificate that a new connection is shown; 0 while there is none."""
        found = ssl_certificate(port)
        return x509.load_pem_x509_certificate(found.encode()).serial_number if found else 0

    monkeypatch.setattr(Server, "wait_ready", lambda server: wait_for(lambda: serial() > 0))
    with serving(bundles["binary"].bundle.path, cwd=tmp_path) as server:
        with grpc.secure_channel(f"localhost:{port}", trusted) as channel:
            assert call(channel, "ModelInfer", infer())[0] == "OK"
        assert serial() == first.serial_number
        (tmp_path / "server.pem").write_text("no certificate")
        wait_for(lambda: serial() and any("gRPC stays" in line for line in server.log))
        assert serial() == first.serial_number
        second, _ = certificate(tmp_path, "server", authority)
        wait_for(lambda: serial() == second.serial_number)
        with grpc.secure_channel(f"localhost:{port}", trusted) as channel:
            assert call(channel, "ModelInfer", infer())[0] == "OK"


def ssl_certificate(port: int) -> str:
    """The certificate shown to whoever connects; empty when nobody answers."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as connection,
            context.wrap_socket(connection) as secured,
        ):
            return ssl.DER_cert_to_PEM_cert(secured.getpeercert(binary_form=True) or b"")
    except OSError:
        return ""
