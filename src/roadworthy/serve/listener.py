"""What the connections of one worker share: limits, the clock, the application."""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
import time
import traceback
from collections import Counter
from collections.abc import Awaitable
from email.utils import formatdate
from typing import TYPE_CHECKING, Protocol

from roadworthy.project import ServeSection
from roadworthy.serve.callers import TrustedProxies
from roadworthy.serve.messages import Answer, Head, Request, Response, encode_response
from roadworthy.serve.problems import RequestProblem

if TYPE_CHECKING:
    from roadworthy.serve.connection import Connection
    from roadworthy.serve.telemetry import Telemetry

log = logging.getLogger("roadworthy.serve")
SWEEP = 1.0
"""Seconds between two looks at the clock and at who is late."""
_MAX_HEADS = 512
_MAX_REMEMBERED = 1024


class Application(Protocol):
    """What answers requests.

    Attributes:
        telemetry: What keeps traces; None for nothing.
    """

    telemetry: Telemetry | None

    def answer(self, request: Request) -> Answer:
        """Answer, at once or later; RequestProblem for a request that cannot be answered."""

    def note(self, request: Request | None, response: Response, seconds: float) -> None:
        """Count an answer that was sent."""


class Listener:
    """What the connections of one worker share.

    Args:
        application: What answers.
        options: `[serve]`.
        loop: The event loop.

    Attributes:
        now: Monotonic seconds, as of the last sweep.
        date: The `date` line of answers, as of the last sweep.
        heads: Heads that came before, by their bytes.
        connections: The open ones, the oldest first.
        draining: Whether the worker is about to end.
    """

    def __init__(
        self, application: Application, options: ServeSection, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.application = application
        self.telemetry = application.telemetry
        self.loop = loop
        self.max_body = int(options.max_body_mb * 1_000_000)
        # the clock is set once a second, so a deadline by it may fall a second early
        self.header_seconds = options.header_seconds + SWEEP
        self.body_seconds = options.body_seconds + SWEEP
        self.keep_alive_seconds = options.keep_alive_seconds + SWEEP
        self.cors_origins = frozenset(options.cors_origins)
        self.max_connections = options.max_connections
        self.heads: dict[bytes, Head] = {}
        self.connections: dict[Connection, None] = {}
        self.draining = False
        self._proxies = TrustedProxies(options.trusted_proxies, options.proxy_header)
        self._most_of_one = options.max_connections_client
        self._of: Counter[str] = Counter()
        self._ids = map("{}-{:x}".format, itertools.repeat(secrets.token_hex(6)), itertools.count())
        self.sweep()

    def sweep(self) -> None:
        """Once a second: set the clocks, and cut off who is late."""
        self.now = time.monotonic()
        self.date = f"date: {formatdate(usegmt=True)}\r\n".encode()
        for connection in [c for c in self.connections if c.deadline < self.now]:
            connection.late()

    def admit(self, connection: Connection) -> bool:
        """Let a connection in; the longest idle one makes room where there is none."""
        if len(self.connections) >= self.max_connections:
            idle = next((one for one in self.connections if one.idle or one.closing), None)
            if idle is None or self.draining:
                return False
            self.leave(idle)
            idle.transport.abort()
        if self._most_of_one is not None and connection.client not in self._proxies:
            if self._of[connection.client] >= self._most_of_one:
                return False
            self._of[connection.client] += 1
        self.connections[connection] = None
        return True

    def leave(self, connection: Connection) -> None:
        """Forget a connection; one that is not known any more changes nothing."""
        if connection not in self.connections:
            return
        del self.connections[connection]
        if self._of[connection.client] <= 1:
            del self._of[connection.client]
        else:
            self._of[connection.client] -= 1

    def full(self) -> RequestProblem:
        """The answer to a connection that was not let in."""
        return RequestProblem(
            503, "too many connections are open: try again", headers=(("retry-after", "1"),)
        )

    def remember(self, content: bytes, head: Head) -> None:
        """Keep a head for when the same bytes come again."""
        if len(content) <= _MAX_REMEMBERED and head.length is not None and not head.expects:
            if len(self.heads) >= _MAX_HEADS:
                self.heads.clear()
            self.heads[content] = head

    def request_id(self, head: Head) -> str:
        """The client's request id, or a new one."""
        return head.request_id or next(self._ids)

    def answer(self, request: Request) -> Answer:
        """What the application answers; a problem or a fault as its document."""
        try:
            return self.application.answer(request)
        except RequestProblem as problem:
            return problem.response(request.id)
        except Exception as error:  # the last line of defence: no traceback leaves the process
            return fault(request, error)

    async def finish(self, request: Request, answer: Awaitable[Response]) -> Response:
        """Wait for an answer; a problem or a fault as its document."""
        try:
            return await answer
        except RequestProblem as problem:
            return problem.response(request.id)
        except Exception as error:
            return fault(request, error)

    def refusal(self, problem: RequestProblem) -> bytes:
        """The last words to a connection whose request cannot be read."""
        response = problem.response(next(self._ids))
        self.application.note(None, response, 0.0)
        return encode_response(response, self.date, close=True, bodiless=False)

    def allow_origin(self, request: Request, response: Response) -> Response:
        """Let a page of an allowed origin read the answer."""
        origin = request.head.headers.get("origin")
        if origin is None or origin not in self.cors_origins:
            return response
        headers = (*response.headers, ("access-control-allow-origin", origin), ("vary", "origin"))
        return response._replace(headers=headers)

    def note(self, request: Request, response: Response, start: float) -> None:
        """Tell the application of an answer that was sent."""
        self.application.note(request, response, time.perf_counter() - start)

    def drain(self) -> None:
        """Finish what was begun and let nobody begin anew."""
        self.draining = True
        for connection in list(self.connections):
            connection.drain()


def fault(request: Request, error: Exception) -> Response:
    """The answer to a request that failed, and a line for the operator."""
    # where, but not what: the message may hold the caller's data
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{frame.filename}:{frame.lineno}"
    log.error("request %s failed: %s at %s", request.id, type(error).__name__, place)
    problem = RequestProblem(500, "an internal error; give the request id to the operator")
    return problem.response(request.id)
