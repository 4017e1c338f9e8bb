"""Compressed bodies: gzip, and zstd where its library is installed; never more than allowed."""

from __future__ import annotations

import importlib.util
import zlib
from typing import Any

from roadworthy.serve.chunks import too_large
from roadworthy.serve.problems import RequestProblem

_MAX_RATIO = 200
_FREE = 1_000_000
"""Bytes up to which no ratio is looked at: a small text may well shrink to a thousandth."""
_STEP = 1 << 18


def decompress(body: bytes, coding: str, limit: int) -> bytes:
    """Undo a Content-Encoding.

    Args:
        body: The body as it came.
        coding: The header, lower case.
        limit: Most bytes that may come out.

    Raises:
        RequestProblem: The coding is unknown (415), the body damaged (400), or what comes out is
            more than the limit or two hundred times what went in (413).
    """
    if coding in ("", "identity"):
        return body
    if coding in ("gzip", "x-gzip"):
        return _gunzip(body, limit)
    if coding == "zstd" and importlib.util.find_spec("zstandard") is not None:
        return _unzstd(body, limit)
    known = "gzip, zstd" if importlib.util.find_spec("zstandard") is not None else "gzip"
    raise RequestProblem(
        415, f"send the body plain or as one of: {known}", headers=(("accept-encoding", known),)
    )


def _gunzip(body: bytes, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    rest = body
    try:
        while rest:  # a gzip file may have several members
            stream = zlib.decompressobj(wbits=31)
            while not stream.eof:
                part = stream.decompress(rest, _STEP)
                if not part and not stream.unconsumed_tail and not stream.eof:
                    raise RequestProblem(400, "the body is not whole: its gzip stream breaks off")
                size += len(part)
                _check(size, len(body), limit)
                parts.append(part)
                rest = stream.unconsumed_tail
            rest = stream.unused_data
    except zlib.error:
        raise RequestProblem(400, "the body is not valid gzip") from None
    return b"".join(parts)


def _unzstd(body: bytes, limit: int) -> bytes:
    import zstandard

    parts: list[bytes] = []
    size = 0
    # a window as large as the limit is enough for what may come out
    stream: Any = zstandard.ZstdDecompressor(max_window_size=1 << 25).stream_reader(
        body, read_across_frames=True
    )
    try:
        while part := stream.read(_STEP):
            size += len(part)
            _check(size, len(body), limit)
            parts.append(part)
    except zstandard.ZstdError:
        raise RequestProblem(400, "the body is not valid zstd") from None
    if not parts and body:
        raise RequestProblem(400, "the body is not valid zstd")
    return b"".join(parts)


def _check(size: int, given: int, limit: int) -> None:
    if size > limit:
        raise too_large(limit)
    if size > _FREE and size > _MAX_RATIO * given:
        raise RequestProblem(
            413, f"the body unpacks to more than {_MAX_RATIO} times its size: send it plain"
        )
