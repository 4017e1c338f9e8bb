"""Compressed bodies: gzip, and zstd where its library is installed; never more than allowed."""

from __future__ import annotations

import importlib.util
import zlib
from collections.abc import Callable
from typing import Any

from roadworthy.serve.chunks import too_large
from roadworthy.serve.problems import RequestProblem

_MAX_RATIO = 200
_FREE = 1_000_000
"""Bytes up to which no ratio is looked at: a small text may well shrink to a thousandth."""
_PIECE = 512
"""Bytes that are unpacked at once, so that a bomb is seen before it fills the memory."""
_MAX_STREAMS = 1000
"""Most gzip members or zstd frames of a body: each costs time, even when it is empty."""


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
        return _unpack(body, limit, "gzip", lambda: zlib.decompressobj(wbits=31), zlib.error)
    if coding == "zstd" and importlib.util.find_spec("zstandard") is not None:
        import zstandard

        # a window as large as the limit is enough for what may come out
        unpacker = zstandard.ZstdDecompressor(max_window_size=1 << 25)
        return _unpack(body, limit, "zstd", unpacker.decompressobj, zstandard.ZstdError)
    known = "gzip, zstd" if importlib.util.find_spec("zstandard") is not None else "gzip"
    raise RequestProblem(
        415, f"send the body plain or as one of: {known}", headers=(("accept-encoding", known),)
    )


def _unpack(
    body: bytes, limit: int, name: str, begin: Callable[[], Any], damaged: type[Exception]
) -> bytes:
    parts: list[bytes] = []
    size = streams = 0
    stream: Any = None
    for place in range(0, len(body), _PIECE):
        rest = body[place : place + _PIECE]
        while rest:
            if stream is None:  # a body may have several, one behind the other
                stream = begin()
                streams += 1
                if streams > _MAX_STREAMS:
                    raise RequestProblem(
                        400, f"the body has more than {_MAX_STREAMS:,} {name} streams: send one"
                    )
            try:
                part = stream.decompress(rest)
            except damaged:
                raise RequestProblem(400, f"the body is not valid {name}") from None
            size += len(part)
            _check(size, len(body), limit)
            parts.append(part)
            rest, stream = (stream.unused_data, None) if stream.eof else (b"", stream)
    if stream is not None:
        raise RequestProblem(400, f"the body is not whole: its {name} stream breaks off")
    return b"".join(parts)


def _check(size: int, given: int, limit: int) -> None:
    if size > limit:
        raise too_large(limit)
    if size > _FREE and size > _MAX_RATIO * given:
        raise RequestProblem(
            413, f"the body unpacks to more than {_MAX_RATIO} times its size: send it plain"
        )
