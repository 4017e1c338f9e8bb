"""AWS as moto has it, in its strict settings, behind a door that can fail at every call."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

import boto3
import pytest

from tests.registry.conftest import answers, free_port

Fault = Literal["cut before", "cut after", "fault", "throttled", "denied", "quota", "unlisted"]
READS = ("Describe", "Get", "List", "Head")
_ERRORS = {
    "fault": (500, "InternalError", "An internal error occurred"),
    "throttled": (503, "RequestLimitExceeded", "Request limit exceeded."),
    "denied": (403, "UnauthorizedOperation", "You are not authorized to perform: {action}"),
    "quota": (400, "VpcLimitExceeded", "The maximum number has been reached."),
}
_IMAGES = [
    {
        "ami_id": f"ami-0deb1a2deb1a2de{kind}", "name": f"debian-12-{name}-2026{month}01-1",
        "description": "Debian 12", "owner_id": "136693071363", "public": True,
        "virtualization_type": "hvm", "architecture": kind_of, "state": "available",
        "image_type": "machine", "hypervisor": "xen", "root_device_name": "/dev/xvda",
        "root_device_type": "ebs", "creation_date": f"2026-{month}-01T00:00:00.000Z",
    }
    for kind, name, kind_of, month in (
        ("01", "amd64", "x86_64", "01"), ("02", "amd64", "x86_64", "03"),
        ("03", "arm64", "arm64", "02"),
    )
]  # fmt: skip


class Aws:
    """The server.

    Attributes:
        url: Where it is.
        calls: Operations that were asked for, in order.
        fail: Called with the operation and its body; says what is to go wrong.
        console: What the console of every instance shows.
    """

    def __init__(self, folder: Path, address: str = "127.0.0.1") -> None:
        images = folder / "images.json"
        images.write_text(json.dumps(_IMAGES))
        strict = {
            "MOTO_AMIS_PATH": str(images), "MOTO_ENABLE_AMI_VALIDATION": "1",
            "MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION": "1", "MOTO_ENABLE_KEYPAIR_VALIDATION": "1",
            "MOTO_IAM_LOAD_MANAGED_POLICIES": "true",
        }  # fmt: skip
        while not self._start(os.environ | strict, folder / "moto.log"):
            pass  # somebody was faster to the port
        self.calls: list[str] = []
        self.fail: Callable[[str, bytes], Fault | None] = lambda operation, body: None
        self.console = ""
        door = self

        class Door(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # one packet an answer

            def do_POST(self) -> None:
                door.answer(self)

            do_GET = do_PUT = do_DELETE = do_HEAD = do_POST  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self.door = ThreadingHTTPServer((address, 0), Door)
        self.url = f"http://127.0.0.1:{self.door.server_port}"
        threading.Thread(target=self.door.serve_forever, daemon=True).start()

    def _start(self, environment: dict[str, str], log: Path) -> bool:
        """Start moto on a port that is free now; whether it still was."""
        self.port = free_port()
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        with log.open("wb") as into:
            self.process = subprocess.Popen(command, stdout=into, stderr=into, env=environment)
        ready, end = answers(f"http://127.0.0.1:{self.port}/moto-api/"), time.monotonic() + 120
        while not ready() or self.process.poll() is not None:
            if self.process.poll() is not None:
                assert "in use" in (said := log.read_text()), said[-2000:]
                return False
            assert time.monotonic() < end, "moto does not answer"
            time.sleep(0.1)
        return True

    def close(self) -> None:
        self.door.shutdown()
        self.door.server_close()
        self.process.terminate()
        self.process.wait(60)

    def reset(self) -> None:
        """Nothing fails, and nothing was asked; what is in the account stays."""
        self.fail, self.console = lambda operation, body: None, ""
        self.calls.clear()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        operation = _operation(request, body)
        self.calls.append(operation)
        fault = self.fail(operation, body)
        if fault == "cut before":
            request.close_connection = True
            return
        if fault in _ERRORS:
            _send(request, *_error(fault, operation, request))
            return
        if operation == "AddClientIDToOpenIDConnectProvider":
            status, headers, content = self._add_audience(body)
        else:
            status, headers, content = self._forward(request, body)
        if fault == "unlisted":
            content = f"<{operation}Response><vpcSet/></{operation}Response>".encode()
        if fault == "cut after":
            request.close_connection = True
            return
        if operation == "GetConsoleOutput":
            shown = base64.b64encode(self.console.encode()).decode()
            content = (
                "<GetConsoleOutputResponse xmlns='http://ec2.amazonaws.com/doc/2016-11-15/'>"
                f"<output>{shown}</output></GetConsoleOutputResponse>"
            ).encode()
        _send(request, status, headers, content)

    def _add_audience(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """What moto does not have: one more audience of a provider, as often as one likes."""
        form = {key: each[0] for key, each in urllib.parse.parse_qs(body.decode()).items()}
        iam = boto3.client("iam", "us-east-1", endpoint_url=f"http://127.0.0.1:{self.port}")
        named = {"OpenIDConnectProviderArn": form["OpenIDConnectProviderArn"]}
        there = iam.get_open_id_connect_provider(**named)
        if form["ClientID"] not in there["ClientIDList"]:
            iam.delete_open_id_connect_provider(**named)
            iam.create_open_id_connect_provider(
                Url=f"https://{there['Url']}", Tags=there["Tags"],
                ClientIDList=[*there["ClientIDList"], form["ClientID"]],
            )  # fmt: skip
        answer = "<AddClientIDToOpenIDConnectProviderResponse/>"
        return 200, {"Content-Type": "text/xml"}, answer.encode()

    def _forward(
        self, request: BaseHTTPRequestHandler, body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        with contextlib.closing(connection):
            connection.request(request.command, request.path, body, dict(request.headers))
            found = connection.getresponse()
            content = found.read()
            kept = {k: v for k, v in found.getheaders() if k.lower() in ("content-type", "etag")}
            return found.status, kept, content


def _operation(request: BaseHTTPRequestHandler, body: bytes) -> str:
    target = request.headers.get("X-Amz-Target")
    if target is not None:
        return target.rpartition(".")[2]
    form = urllib.parse.parse_qs(body.decode("latin-1"))
    return form["Action"][0] if "Action" in form else f"{request.command} {request.path}"


def _error(
    fault: str, operation: str, request: BaseHTTPRequestHandler
) -> tuple[int, dict[str, str], bytes]:
    status, code, said = _ERRORS[fault]
    service = request.headers["Authorization"].split("/")[3]
    said = said.format(action=f"{service}:{operation}")
    if request.headers.get("X-Amz-Target"):
        content = json.dumps({"__type": code, "message": said})
        return status, {"Content-Type": "application/x-amz-json-1.1"}, content.encode()
    error = f"<Error><Code>{code}</Code><Message>{said}</Message></Error>"
    if service == "ec2":
        text = f"<Response><Errors>{error}</Errors><RequestID>r</RequestID></Response>"
    else:
        text = f"<ErrorResponse>{error}<RequestId>r</RequestId></ErrorResponse>"
    return status, {"Content-Type": "text/xml"}, text.encode()


def _send(
    request: BaseHTTPRequestHandler, status: int, headers: dict[str, str], content: bytes
) -> None:
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name, value)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(content)
    request.wfile.flush()


@contextlib.contextmanager
def aws_server(folder: Path, address: str = "127.0.0.1") -> Iterator[Aws]:
    running = Aws(folder, address)
    try:
        yield running
    finally:
        running.close()


def point_to(url: str, patch: pytest.MonkeyPatch) -> None:
    """The environment of someone who is signed in to it."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        patch.delenv(name, raising=False)
    for name, value in {
        "AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():  # fmt: skip
        patch.setenv(name, value)
