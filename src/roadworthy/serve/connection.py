"""One connection: bytes in, requests in order, bytes out; every wait has a deadline.

The hot path is short on purpose. A head that came before, byte for byte, is not parsed again:
clients that keep their connection open send the same head again and again.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any, cast

from roadworthy.serve.chunks import ChunkedBody, too_large
from roadworthy.serve.heads import check_beginning, read_head
from roadworthy.serve.listener import Listener
from roadworthy.serve.messages import Head, Request, Response, encode_response
from roadworthy.serve.problems import RequestProblem

MAX_HEAD = 16_384
_MAX_WAITING = 65_536
_MAX_LINGER = 2.0
_CR = 13


class Connection(asyncio.Protocol):
    """One client.

    Attributes:
        deadline: When the listener's sweep calls `late`.
        idle: Whether nothing of a request was read since the last answer.
    """

    __slots__ = (
        "_body", "_head", "_missing", "_parts", "_task", "_waiting", "_writable", "certificate",
        "client", "closing", "deadline", "idle", "listener", "transport",
    )  # fmt: skip

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.deadline = listener.now + listener.header_seconds
        self.idle = True
        self.closing = False
        self.client = ""
        self.certificate = ""
        self._head: Head | None = None  # of the request whose body is being read
        self._parts: list[bytes] = []
        self._missing = 0
        self._body: ChunkedBody | None = None
        self._waiting = b""  # read, but not yet looked at
        self._task: asyncio.Task[None] | None = None
        self._writable = True

    # what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected."""
        self.transport = cast(asyncio.Transport, transport)
        name = transport.get_extra_info("peername")
        self.client = name[0] if isinstance(name, tuple) else ""
        subject = (transport.get_extra_info("peercert") or {}).get("subject", ())
        self.certificate = dict(pair for part in subject for pair in part).get("commonName", "")
        if not self.listener.admit(self):
            self.closing = True
            self.transport.write(self.listener.refusal(self.listener.full()))
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone."""
        self.closing = True
        self.listener.leave(self)
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self.closing:
            return
        if self._task is not None or not self._writable:  # answers go out in order
            self._waiting += data
            if len(self._waiting) > _MAX_WAITING:
                self.transport.pause_reading()
            return
        try:
            self._read(self._waiting + data if self._waiting else data)
        except RequestProblem as problem:
            self._refuse(problem)

    def pause_writing(self) -> None:
        """The client reads slower than it asks."""
        self._writable = False
        self.deadline = self.listener.now + self.listener.body_seconds

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._writable = True
        if self._task is None:
            self._go_on()

    def late(self) -> None:
        """The deadline has passed."""
        if self._task is not None and self._writable:
            return  # the client waits for us, not we for it
        if self.idle or self.closing or not self._writable:
            self.transport.abort()
        else:
            wait = "body" if self._head is not None else "head"
            self._refuse(RequestProblem(408, f"the request's {wait} took too long to arrive"))

    def drain(self) -> None:
        """Take no further request; close as soon as no answer is owed."""
        if self._task is None and self._head is None and not self._waiting:
            self.transport.close()

    # reading

    def _read(self, data: bytes) -> None:
        self._waiting = b""
        listener = self.listener
        while data:
            if self._head is not None:
                data = self._more_body(data)
                continue
            end = data.find(b"\r\n\r\n")
            if end < 0 or data[0] == _CR:
                data = self._part_of_head(data)
                continue
            content = data[: end + 4]
            head = listener.heads.get(content)
            if head is None:
                head = self._new_head(content)
            length = head.length
            if length is None or len(data) < end + 4 + length:
                self._begin_body(head)
                data = data[end + 4 :]
                continue
            body = data[end + 4 : end + 4 + length]
            data = data[end + 4 + length :]
            self._answer(head, body)
            if self._task is not None or not self._writable or self.closing:
                self._waiting = data
                return
        # a request whose body came in pieces may be answered by a task: it is not idle then
        if self._head is None and not self._waiting and self._task is None:
            self.deadline = listener.now + listener.keep_alive_seconds
            self.idle = True
            if listener.draining and not self.closing:
                self.transport.close()

    def _part_of_head(self, data: bytes) -> bytes:
        """Keep what came until the rest of the head is there."""
        if data[:2] == b"\r\n":  # an empty line before a request means nothing (RFC 9112, 2.2)
            return data[2:]
        if data == b"\r":
            self._waiting = data
            return b""
        if len(data) > MAX_HEAD:
            raise RequestProblem(431, f"the head of the request is larger than {MAX_HEAD:,} bytes")
        check_beginning(data)
        if self.idle:  # the deadline runs from the first byte, not anew for each
            self.deadline = self.listener.now + self.listener.header_seconds
            self.idle = False
        self._waiting = data
        return b""

    def _new_head(self, content: bytes) -> Head:
        if len(content) > MAX_HEAD:
            raise RequestProblem(431, f"the head of the request is larger than {MAX_HEAD:,} bytes")
        head = read_head(content)
        self.listener.remember(content, head)
        return head

    def _begin_body(self, head: Head) -> None:
        limit = self.listener.max_body
        if head.length is not None and head.length > limit:
            raise too_large(limit)
        self._head, self._parts = head, []
        self._missing = head.length or 0
        self._body = ChunkedBody(limit) if head.length is None else None
        self.idle = False
        self.deadline = self.listener.now + self.listener.body_seconds
        if head.expects:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _more_body(self, data: bytes) -> bytes:
        """Take more of a body; returns what stands behind its end."""
        head = cast(Head, self._head)
        if self._body is not None:
            self._body.feed(data)
            if not self._body.complete:
                return b""
            content, rest = self._body.content, self._body.rest
        else:
            self._parts.append(data[: self._missing])
            rest = data[self._missing :]
            self._missing -= len(self._parts[-1])
            if self._missing:
                return b""
            content = b"".join(self._parts)
        self._head, self._body, self._parts = None, None, []
        self._answer(head, content)
        if self._task is not None or not self._writable or self.closing:
            self._waiting = rest
            return b""
        return rest

    # answering

    def _answer(self, head: Head, body: bytes) -> None:
        self.idle = False
        start = perf_counter()
        request = Request(head, body, self.client, self.listener.request_id(head), self.certificate)
        answer = self.listener.answer(request)
        if type(answer) is Response:
            self._send(request, answer, start)
        else:
            self._task = self.listener.loop.create_task(self._later(request, answer, start))

    async def _later(self, request: Request, answer: Any, start: float) -> None:
        """Send an answer that takes its time, then go on with what came meanwhile."""
        response = await self.listener.finish(request, answer)
        self._task = None
        if not self.closing:
            self._send(request, response, start)
            self._go_on()

    def _send(self, request: Request, response: Response, start: float) -> None:
        listener = self.listener
        head = request.head
        close = not head.keep_alive or listener.draining
        if listener.telemetry is not None:
            response = listener.telemetry.mark(request, response)
        if listener.cors_origins:
            response = listener.allow_origin(request, response)
        self.transport.write(
            encode_response(response, listener.date, close=close, bodiless=head.method == "HEAD")
        )
        listener.note(request, response, start)
        if close:
            self._end()

    def _go_on(self) -> None:
        if self.closing:
            return
        self.transport.resume_reading()
        try:
            if self._waiting:
                self._read(self._waiting)
            elif self._head is None:
                self.idle = True
                self.deadline = self.listener.now + self.listener.keep_alive_seconds
                if self.listener.draining:
                    self.transport.close()
        except RequestProblem as problem:
            self._refuse(problem)

    def _refuse(self, problem: RequestProblem) -> None:
        """Answer what is no request, and end: what follows cannot be told apart any more."""
        self.transport.write(self.listener.refusal(problem))
        self._end()

    def _end(self) -> None:
        """Say that this was all, and leave the client a moment to read it.

        Closing at once would reset the connection under a client that is still sending, and it
        would never see the answer.
        """
        self.closing = True
        self._waiting = b""
        if not self.transport.can_write_eof():
            self.transport.close()
            return
        self.transport.write_eof()
        self.deadline = self.listener.now + _MAX_LINGER
        self.idle = False
