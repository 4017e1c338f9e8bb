"""What goes through the server: the head of a request, the request, the response."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from roadworthy.serve.telemetry import Trace

JSON = "application/json"
_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}


class Head:
    """The head of a request, checked; one object may stand for many requests of the same bytes.

    Attributes:
        method: In upper case.
        path: Decoded, beginning with a slash.
        query: What stands behind the question mark, as it is.
        headers: Lower-case name -> value.
        length: Bytes of the body; None for a chunked one.
        keep_alive: Whether the client wants the connection to stay open.
        expects: Whether the client waits for `100 Continue`.
        request_id: The client's own, if it sent a good one.
    """

    __slots__ = (
        "expects", "headers", "keep_alive", "length", "method", "path", "query", "request_id",
    )  # fmt: skip

    def __init__(
        self,
        method: str,
        path: str,
        query: str,
        headers: dict[str, str],
        length: int | None,
        keep_alive: bool,
        request_id: str | None,
    ) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.length = length
        self.keep_alive = keep_alive
        self.expects = headers.get("expect", "").lower() == "100-continue"
        self.request_id = request_id


class Request:
    """A whole request.

    Attributes:
        head: Its head.
        body: Its body, as it came over the wire.
        client: Address of the client; empty for a Unix socket.
        certificate: Common name of the client's certificate, where TLS asked for one.
        id: The request id, the client's or ours.
        trace: Where it stands in a trace, where traces are kept.
    """

    __slots__ = ("body", "certificate", "client", "head", "id", "trace")

    def __init__(
        self, head: Head, body: bytes, client: str, request_id: str, certificate: str = ""
    ) -> None:
        self.head = head
        self.body = body
        self.client = client
        self.id = request_id
        self.certificate = certificate
        self.trace: Trace | None = None


class Response(NamedTuple):
    """An answer.

    Attributes:
        status: HTTP status.
        body: The content.
        media: Its media type; empty for none.
        headers: Further headers, lower-case names.
    """

    status: int
    body: bytes
    media: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


Answer = Response | Coroutine[Any, Any, Response]
Handler = Callable[[Request], Answer]


def encode_response(response: Response, date: bytes, *, close: bool, bodiless: bool) -> bytes:
    """The bytes of an answer in HTTP/1.1.

    Args:
        response: The answer.
        date: The `date` line, with its line end.
        close: Say that the connection ends with this answer.
        bodiless: Leave out the content, for HEAD.
    """
    status, body, media, headers = response
    lines = [b"HTTP/1.1 %d %b\r\n" % (status, _REASONS.get(status, b"")), date]
    if media:
        lines.append(b"content-type: %b\r\n" % media.encode())
    lines += [f"{name}: {value}\r\n".encode("latin-1") for name, value in headers]
    if status != HTTPStatus.NO_CONTENT:
        lines.append(b"content-length: %d\r\n" % len(body))
    lines.append(b"connection: close\r\n\r\n" if close else b"\r\n")
    if not bodiless:
        lines.append(body)
    return b"".join(lines)
