"""The autoscaler of Kubernetes over real servers of this machine.

The formula, its tolerance, stabilisation and policies are those of the Kubernetes documentation
(`kubernetes.io`, Horizontal Pod Autoscaling, "Algorithm details"); what is asked for comes from the
manifest, the metric from the servers' own /metrics by the adapter's rule. A tick stands for 15
seconds of the controller, however long it takes here.
"""

from __future__ import annotations

import http.client
import math
import random
import re
import socket
import threading
import time
from collections import deque
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from roadworthy.deploy.kubernetes.documents import adapter_rules
from tests.conftest import Server

TICK = 15
TOLERANCE = 0.1
MINUTE = 60 // TICK
DEADLINE = 120.0


class Scaler:
    """What a HorizontalPodAutoscaler of one Pods metric wants, tick by tick."""

    def __init__(self, document: dict[str, Any]) -> None:
        spec = document["spec"]
        [metric] = spec["metrics"]
        self.metric: str = metric["pods"]["metric"]["name"]
        self.target = float(metric["pods"]["target"]["averageValue"].removesuffix("m")) / 1000
        self.least, self.most = spec["minReplicas"], spec["maxReplicas"]
        self.behavior = spec["behavior"]
        self.wanted: list[int] = []
        self.sizes: list[int] = []

    def formula(self, now: int, values: list[float]) -> int:
        """ceil(now x mean / target), and no change within the tolerance."""
        ratio = sum(values) / len(values) / self.target
        wanted = now if abs(ratio - 1) <= TOLERANCE else math.ceil(now * ratio)
        return min(self.most, max(self.least, wanted))

    def tick(self, now: int, values: list[float]) -> int:
        """The replicas after a tick with these values of the replicas."""
        self.wanted = self.wanted or [now]  # the controller begins with what it finds
        self.wanted.append(self.formula(now, values))
        self.sizes.append(now)
        up, down = self.behavior["scaleUp"], self.behavior["scaleDown"]
        low = min(self._window(up))
        high = max(self._window(down))
        size = now
        if low > now:
            size = min(low, self._limit(up, now, 1))
        elif high < now:
            size = max(high, self._limit(down, now, -1))
        return size

    def _window(self, rules: dict[str, Any]) -> list[int]:
        ticks = 1 + rules["stabilizationWindowSeconds"] // TICK
        return self.wanted[-ticks:]

    def _limit(self, rules: dict[str, Any], now: int, sign: int) -> int:
        [policy] = rules["policies"]
        assert policy["type"] == "Percent"
        ticks = max(1, policy["periodSeconds"] // TICK)
        before = self.sizes[-ticks:][0]
        changed = before * (1 + sign * policy["value"] / 100)
        return math.ceil(changed) if sign > 0 else min(now, math.floor(changed))


class Replica:
    """A server, how many calls it has, and what it counted a moment ago."""

    def __init__(self, bundle: Path, metric: str) -> None:
        self.server = Server(bundle, "--workers", "1", "--quiet")
        rule = next(r for r in adapter_rules()["rules"]["custom"] if r["name"]["as"] == metric)
        found = re.fullmatch(r"sum\(rate\((\w+)\{.*\}\[1m\]\)\) by .*", rule["metricsQuery"])
        assert found is not None
        self.series = found[1]
        self.calls = 0
        self.lately: deque[tuple[float, float]] = deque(maxlen=MINUTE)
        self.begin()

    def begin(self) -> None:
        """Count from now on."""
        self.counted, self.at = self._read(), time.monotonic()

    def _read(self) -> float:
        text = self.server.get("/metrics")[2].decode()
        found = re.findall(rf"^{self.series}(?:{{.*}})? ([0-9.e+-]+)$", text, re.MULTILINE)
        return sum(map(float, found))

    def rate(self) -> float:
        """Of the metric's series over the ticks of a minute, as the adapter's rule has it."""
        before, since = self.counted, self.at
        self.begin()
        self.lately.append((self.counted - before, self.at - since))
        counted, seconds = map(sum, zip(*self.lately, strict=True))
        return counted / seconds


class Fleet:
    """Replicas behind one address, as a Service has them: each call goes to any of the ready."""

    def __init__(self, bundle: Path, scaler: Scaler, body: bytes) -> None:
        self.bundle, self.scaler, self.body = bundle, scaler, body
        self.ready: list[Replica] = []
        self.lock = threading.Condition()
        self.answered: list[object] = []

    def call(self) -> None:
        """One request; what came of it is noted."""
        with self.lock:
            replica = random.choice(self.ready)
            replica.calls += 1
        try:
            status: object = replica.server.request(
                "POST", "/predict", self.body, Content_Type="application/json"
            )[0]
        except (OSError, http.client.HTTPException) as error:
            status = repr(error)
        with self.lock:
            replica.calls -= 1
            self.lock.notify_all()
            self.answered.append(status)

    @contextmanager
    def load(self, callers: int, pause: float = 0.0) -> Any:
        """So many callers, each of which calls again once it is answered and has paused."""
        done = threading.Event()

        def run() -> None:
            while not done.is_set():
                self.call()
                done.wait(pause)

        threads = [threading.Thread(target=run) for _ in range(callers)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            done.set()
            for thread in threads:
                thread.join()

    def begin(self) -> None:
        for replica in self.ready:
            replica.begin()

    def values(self) -> list[float]:
        return [replica.rate() for replica in self.ready]

    def resize(self, size: int) -> None:
        """Start what is missing; end what is too much as a pod ends."""
        while len(self.ready) < size:
            replica = Replica(self.bundle, self.scaler.metric)
            with self.lock:
                self.ready.append(replica)
        while len(self.ready) > size:
            with self.lock:
                replica = self.ready.pop()
            self._end(replica)

    def _end(self, replica: Replica) -> None:
        """Out of the Service, then the pod's last seconds, then SIGTERM amid a request."""
        with self.lock:  # the preStop hook waits for as long as calls may still come
            assert self.lock.wait_for(lambda: not replica.calls, DEADLINE)
        half = len(self.body) // 2
        address = ("127.0.0.1", replica.server.port)
        idle = http.client.HTTPConnection(*address, timeout=DEADLINE)
        with socket.create_connection(address, timeout=DEADLINE) as held:
            head = (
                f"POST /predict HTTP/1.1\r\nHost: held\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(self.body)}\r\n\r\n"
            )
            held.sendall(head.encode() + self.body[:half])
            idle.request("GET", "/livez")  # and when that is answered, what came has been read
            assert idle.getresponse().read()
            replica.server.process.terminate()
            assert idle.sock is not None
            assert idle.sock.recv(1) == b""  # idle connections end when the server begins to drain
            held.sendall(self.body[half:])
            answer = http.client.HTTPResponse(held)
            answer.begin()
            with self.lock:
                self.answered.append(answer.status)
            answer.read()
        assert replica.server.process.wait(DEADLINE) == 0

    def close(self) -> None:
        for replica in self.ready:
            replica.server.stop()
