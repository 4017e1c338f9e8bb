"""What moto's load balancer lacks: callers. It sends them where moto's listener and rules say.

The machines of a target group are one server of the very version that the group's release names.
"""

from __future__ import annotations

import contextlib
import fnmatch
import http.client
import random
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3

from roadworthy.deploy.aws.call import tags
from roadworthy.deploy.cloud.provider import DEPLOYMENT, PART
from tests.deploy.aws_server import Aws


class Balancer:
    """The callers' side of a deployment's listener.

    Attributes:
        port: Where it answers.
        servers: First characters of a release -> port of the server that its machines run.
    """

    def __init__(self, aws: Aws, region: str) -> None:
        self.aws = aws
        self.deployment = ""
        self.servers: dict[str, int] = {}
        url = f"http://127.0.0.1:{aws.port}"  # past the door: its own questions do not count
        self.client = boto3.client(
            "elbv2", region, endpoint_url=url, aws_access_key_id="t", aws_secret_access_key="t"
        )
        self._lock = threading.Lock()
        self._seen, self._state = -1, ([], {}, {})  # type: ignore[var-annotated]
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

    def close(self) -> None:
        self.front.shutdown()
        self.front.server_close()

    def _now(self) -> tuple[list[tuple[str, str]], dict[str, int], dict[str, str]]:
        """Rules, default weights, and the release of each target group, as moto has them."""
        with self._lock:
            seen = len(self.aws.calls)
            if seen != self._seen:
                self._state = self._asked()
                self._seen = seen
            return self._state

    def _asked(self) -> tuple[list[tuple[str, str]], dict[str, int], dict[str, str]]:
        releases: dict[str, str] = {}
        for each in self.client.describe_target_groups()["TargetGroups"]:
            asked = self.client.describe_tags(ResourceArns=[each["TargetGroupArn"]])
            marks = tags(asked["TagDescriptions"][0])
            if marks.get(DEPLOYMENT) == self.deployment:
                name = marks[PART].removeprefix("aws-targets-")
                releases[each["TargetGroupArn"]] = name
        rules: list[tuple[str, str]] = []
        weights: dict[str, int] = {}
        for balancer in self.client.describe_load_balancers()["LoadBalancers"]:
            asked = self.client.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])
            for listener in asked["Listeners"]:
                found = self._rules(listener["ListenerArn"], releases)
                rules += found
                for action in listener["DefaultActions"]:
                    for one in action.get("ForwardConfig", {}).get("TargetGroups", []):
                        if one["TargetGroupArn"] in releases:
                            weights[one["TargetGroupArn"]] = int(one["Weight"])
        return rules, weights, releases

    def _rules(self, listener: str, releases: dict[str, str]) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        for rule in self.client.describe_rules(ListenerArn=listener)["Rules"]:
            to = rule["Actions"][0].get("TargetGroupArn", "")
            if not rule["IsDefault"] and to in releases:
                values: Any = rule["Conditions"][0]["PathPatternConfig"]["Values"]
                found += [(value, to) for value in values]
        return found

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        rules, weights, releases = self._now()
        to = next((to for path, to in rules if fnmatch.fnmatch(request.path, path)), None)
        if to is None and any(weights.values()):
            (to,) = random.choices(list(weights), list(weights.values()))
        port = next(
            (port for start, port in self.servers.items() if to and releases[to].startswith(start)),
            None,
        )
        if port is None:
            _send(request, 503, "text/plain", b"no machine")
            return
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
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
def balancing(aws: Aws, region: str) -> Iterator[Balancer]:
    running = Balancer(aws, region)
    try:
        yield running
    finally:
        running.close()
