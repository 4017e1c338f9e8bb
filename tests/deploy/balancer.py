"""The callers' side of a load balancer: requests are handed on to where its documents say."""

from __future__ import annotations

import contextlib
import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Balancer:
    """A balancer; which server answers a path is for each cloud's to say.

    Attributes:
        port: Where it answers.
        servers: First characters of a release -> port of the server that its machines run.
    """

    def __init__(self) -> None:
        self.servers: dict[str, int] = {}
        balancer = self

        class Front(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def do_POST(self) -> None:
                balancer._answer(self)

            do_GET = do_POST  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self._front = ThreadingHTTPServer(("127.0.0.1", 0), Front)
        self.port = self._front.server_port
        threading.Thread(target=self._front.serve_forever, daemon=True).start()

    def release_for(self, path: str) -> str:
        """The release whose machines get a request; empty: none does."""
        raise NotImplementedError

    def close(self) -> None:
        self._front.shutdown()
        self._front.server_close()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        release = self.release_for(request.path)
        ports = [port for start, port in self.servers.items() if release.startswith(start)]
        if not ports:
            _send(request, 503, "text/plain", b"no machine")
            return
        connection = http.client.HTTPConnection("127.0.0.1", ports[0], timeout=60)
        with contextlib.closing(connection):
            connection.request(request.command, request.path, body, dict(request.headers))
            said = connection.getresponse()
            _send(request, said.status, said.getheader("Content-Type", ""), said.read())


def _send(request: BaseHTTPRequestHandler, status: int, kind: str, content: bytes) -> None:
    request.send_response(status)
    request.send_header("Content-Type", kind)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    request.wfile.write(content)
    request.wfile.flush()
