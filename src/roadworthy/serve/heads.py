"""Read the head of a request: llhttp (by httptools) parses, rules of our own follow.

The rules refuse what different readers could understand differently, which is what request
smuggling lives on (RFC 9112, sections 6.3 and 11.2).
"""

from __future__ import annotations

import re
from urllib.parse import unquote

import httptools

from roadworthy.serve.messages import Head
from roadworthy.serve.problems import RequestProblem

MAX_FIELDS = 100
_ILL_FORMED = "this is not a well-formed HTTP/1.1 request"
_FIRST_LINE = "its first line is not METHOD /ADDRESS HTTP/1.1, ended by CR LF"
_ONCE = (
    "authorization", "content-encoding", "content-length", "content-type", "expect", "host",
    "transfer-encoding", "x-api-key", "x-request-id",
)  # fmt: skip
_WITH_BODY = ("POST", "PUT", "PATCH")
_BEGINNING = re.compile(rb"[A-Z]{1,20}(?: [^\x00-\x20\x7f-\xff]*(?: H?T?T?P?/?1?\.?[01]?\r?)?)?")
_REQUEST_LINE = re.compile(rb"[A-Z]{1,20} [^\x00-\x20\x7f]+ HTTP/1\.[01]\r\n")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}").fullmatch


class _Fields:
    """Collects what the parser finds."""

    def __init__(self) -> None:
        self.target = b""
        self.fields: list[tuple[bytes, bytes]] = []

    def on_url(self, target: bytes) -> None:
        self.target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))


def read_head(content: bytes) -> Head:
    """Read a whole head.

    Args:
        content: From the method to the empty line, both included.

    Raises:
        RequestProblem: It is not HTTP/1.0 or HTTP/1.1, is ambiguous, or has too many fields.
    """
    if b"\n" in content.replace(b"\r\n", b""):
        raise RequestProblem(400, "a line of the request's head does not end in CR LF")
    if _REQUEST_LINE.match(content) is None:
        raise RequestProblem(400, f"{_ILL_FORMED}: {_FIRST_LINE}")
    found = _Fields()
    parser = httptools.HttpRequestParser(found)
    try:
        parser.feed_data(content)
    except httptools.HttpParserUpgrade:
        pass  # an upgrade is offered, not demanded: the request is answered as it is
    except httptools.HttpParserError as error:  # it says what it expected, never what was sent
        raise RequestProblem(400, f"{_ILL_FORMED}: {error}") from None
    if len(found.fields) > MAX_FIELDS:
        raise RequestProblem(431, f"the request has more than {MAX_FIELDS} header fields")
    version = parser.get_http_version()
    if version not in ("1.0", "1.1"):
        raise RequestProblem(400, "send HTTP/1.1")
    headers = _merge(found.fields)
    if version == "1.1" and "host" not in headers:
        raise RequestProblem(400, "the Host header is missing")
    method = parser.get_method().decode("ascii")
    path, query = _split(found.target)
    if headers.get("expect", "100-continue").lower() != "100-continue":
        raise RequestProblem(417, "the only expectation that is met is 100-continue")
    return Head(
        method,
        path,
        query,
        headers,
        _length(method, version, headers),
        _keep_alive(version, headers),
        own_request_id(headers),
    )


def own_request_id(headers: dict[str, str]) -> str | None:
    """The client's own request id, if it sent a good one."""
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID(given) else None


def check_beginning(content: bytes) -> None:
    """Refuse at once what can never become a request line, such as a TLS greeting."""
    line, ended, _ = content.partition(b"\n")
    if _BEGINNING.fullmatch(line) is None or (ended and not line.endswith(b"\r")):
        raise RequestProblem(400, f"{_ILL_FORMED}: {_FIRST_LINE}")


def _merge(fields: list[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in fields:
        name, value = raw_name.decode("ascii").lower(), raw_value.decode("latin-1").strip(" \t")
        if name not in headers:
            headers[name] = value
        elif name in _ONCE:
            raise RequestProblem(400, f"the header {name} stands twice")
        else:
            headers[name] += f", {value}"
    return headers


def _split(target: bytes) -> tuple[str, str]:
    try:
        text = target.decode("ascii")
    except UnicodeDecodeError:
        raise RequestProblem(400, "the address holds characters that are not ASCII") from None
    if text[:7].lower() == "http://" or text[:8].lower() == "https://":
        text = "/" + text.split("//", 1)[1].partition("/")[2]  # a proxy may send it whole
    path, _, query = text.partition("#")[0].partition("?")
    return (unquote(path, errors="replace") if "%" in path else path), query


def _length(method: str, version: str, headers: dict[str, str]) -> int | None:
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None:
        if length is not None:
            raise RequestProblem(400, "Content-Length and Transfer-Encoding exclude each other")
        if version == "1.0":
            raise RequestProblem(400, "HTTP/1.0 has no Transfer-Encoding: send Content-Length")
        if coding.lower() != "chunked":
            raise RequestProblem(400, "the only Transfer-Encoding that is read is chunked")
        return None
    if length is not None:
        if not (length.isascii() and length.isdigit() and len(length) <= 18):
            raise RequestProblem(400, "Content-Length is not a number of bytes")
        return int(length)
    if method in _WITH_BODY:
        raise RequestProblem(411, "say how long the body is: Content-Length")
    return 0


def _keep_alive(version: str, headers: dict[str, str]) -> bool:
    wishes = {wish.strip() for wish in headers.get("connection", "").lower().split(",")}
    return "close" not in wishes and (version == "1.1" or "keep-alive" in wishes)
