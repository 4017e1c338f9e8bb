"""Read a chunked body (RFC 9112, section 7.1), strictly."""

from __future__ import annotations

import re

from roadworthy.serve.problems import RequestProblem

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})(?:[ \t]*;[\t\x20-\x7e]{0,200})?")
_MAX_LINE = 256
_MAX_TRAILERS = 8192


class ChunkedBody:
    """Takes pieces of a chunked body as they come.

    Args:
        limit: Most bytes that the body may have.

    Attributes:
        complete: Whether the end was read.
        rest: What came behind the end.
    """

    def __init__(self, limit: int) -> None:
        self.complete = False
        self.rest = b""
        self._limit = limit
        self._content = bytearray()
        self._size = 0
        self._missing = 0  # bytes of the chunk that is being read
        self._in_trailers = False
        self._trailers = 0
        self._held = b""

    @property
    def content(self) -> bytes:
        """The body."""
        return bytes(self._content)

    def feed(self, data: bytes) -> None:
        """Take a piece.

        Raises:
            RequestProblem: It is not well-formed (400) or too large (413).
        """
        data = self._held + data
        self._held = b""
        place = 0  # what stands before it is read; cutting it off would copy the rest each time
        while place < len(data) and not self.complete:
            if self._missing > 2:
                part = data[place : place + self._missing - 2]
                self._content += part
                self._missing -= len(part)
                place += len(part)
            elif self._missing:
                ending = data[place : place + self._missing]
                if ending != b"\r\n"[2 - self._missing :][: len(ending)]:
                    raise _malformed()
                self._missing -= len(ending)
                place += len(ending)
            else:
                end = data.find(b"\r\n", place)
                if end < 0:
                    self._hold(data[place:])
                    return
                self._line(data[place:end])
                place = end + 2
        self.rest = data[place:] if self.complete else b""

    def _hold(self, line: bytes) -> None:
        """Keep the beginning of a line until its end comes."""
        if len(line) > _MAX_LINE or b"\n" in line:
            raise _malformed()
        self._held = line

    def _line(self, line: bytes) -> None:
        if self._in_trailers:
            self._trailers += len(line) + 2
            if self._trailers > _MAX_TRAILERS:
                raise RequestProblem(431, "the body's trailers are too large")
            self.complete = not line
            return
        size = _SIZE.fullmatch(line)
        if size is None:
            raise _malformed()
        self._missing = int(size[1], 16)
        self._size += self._missing
        if self._size > self._limit:
            raise too_large(self._limit)
        self._in_trailers = self._missing == 0
        self._missing += 2 if self._missing else 0


def too_large(limit: int) -> RequestProblem:
    """The answer to a body above its limit."""
    return RequestProblem(
        413, f"the body is larger than {limit:,} bytes: send fewer rows a request"
    )


def _malformed() -> RequestProblem:
    return RequestProblem(400, "the body is not well-formed chunked coding")
