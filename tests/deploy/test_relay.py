"""The way to a balancer whose certificate is for another name than the balancer's own."""

from __future__ import annotations

import http.client
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from roadworthy.deploy.tunnel import tunnel
from tests.serve.test_guard import certificate

BODY = b"a row, " * 100_000


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def balancer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    certificate(tmp_path, "balancer")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "balancer.pem", tmp_path / "balancer.key")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "balancer.pem"))
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def relayed(port: int, name: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "roadworthy.deploy.cloud.relay", "127.0.0.1", str(port), name]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, **pipes)  # type: ignore[call-overload, no-any-return]


def asked(address: str, times: int) -> list[bytes]:
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=90)
    answers = []
    for _ in range(times):
        connection.request("POST", "/predict", BODY)
        answers.append(connection.getresponse().read())
    connection.close()
    return answers


def test_large_requests_go_there_and_back_under_the_name_of_the_certificate(balancer: int) -> None:
    with tunnel(lambda: relayed(balancer, "localhost")) as address:
        assert asked(address, 5) == [BODY] * 5


def test_a_certificate_for_another_name_is_not_spoken_to(balancer: int) -> None:
    with (
        tunnel(lambda: relayed(balancer, "models.example.org")) as address,
        pytest.raises((http.client.HTTPException, socket.error)),
    ):
        asked(address, 1)
