"""What the strict server lacks: callers, sent where its balancer's documents say.

The machines of a group are one server of the very version that the group's release names.
"""

from __future__ import annotations

import contextlib
import fnmatch
import http.client
import random
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.deploy.gcp.google_server import PROJECT, Google

_GLOBAL = f"projects/{PROJECT}/global"


class Balancer:
    """The callers' side of a deployment.

    Attributes:
        port: Where it answers.
        servers: First characters of a release -> port of the server that its machines run.
        seen: Paths that were asked, with the group that answered.
    """

    def __init__(self, google: Google) -> None:
        self.google = google
        self.servers: dict[str, int] = {}
        self.seen: list[tuple[str, str]] = []
        balancer = self

        class Front(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def do_POST(self) -> None:
                balancer.answer(self)

            do_GET = do_POST  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self.front = ThreadingHTTPServer(("127.0.0.1", 0), Front)
        self.port = self.front.server_port
        threading.Thread(target=self.front.serve_forever, daemon=True).start()

    def _groups(self, path: str) -> list[str]:
        with self.google.guard:
            things = self.google.things
            if (where := things.get(f"{_GLOBAL}/urlMaps/roadworthy-prod")) is None:
                return []
            chosen = where["defaultService"]
            for matcher in where.get("pathMatchers") or ():
                for rule in matcher.get("pathRules") or ():
                    if any(fnmatch.fnmatch(path, each) for each in rule["paths"]):
                        chosen = rule["service"]
            name = chosen.rpartition("/")[2]
            service = things[f"{_GLOBAL}/backendServices/{name}"]
            groups = [each["group"].rpartition("/")[2] for each in service.get("backends") or ()]
        return [each for each in groups if self.google.grouping.healthy(each)]

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Hand one request on."""
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        groups = self._groups(request.path)
        group = random.choice(groups) if groups else ""
        self.seen.append((request.path, group))
        release = group.partition("-")[2].partition("-")[2]
        ports = [port for start, port in self.servers.items() if release.startswith(start)]
        if not ports:
            _send(request, 503, "text/plain", b"no healthy upstream")
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


@contextlib.contextmanager
def balancing(google: Google) -> Iterator[Balancer]:
    """The balancer, while the block runs."""
    running = Balancer(google)
    try:
        yield running
    finally:
        running.front.shutdown()
        running.front.server_close()
