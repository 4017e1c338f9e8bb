"""The access log: one line of JSON a request on standard error, without the caller's data."""

from __future__ import annotations

import re
import sys
import time

import msgspec

from roadworthy.serve.messages import Request, Response

_TRACE = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}").fullmatch
_MAX_WAITING = 1000


class AccessLog:
    """Collects lines and writes them together.

    The trace of a caller is taken from `traceparent` (W3C Trace Context) and stands in the line.
    """

    def __init__(self) -> None:
        self._lines: list[bytes] = []

    def add(self, request: Request | None, route: str, response: Response, seconds: float) -> None:
        """Take note of an answer; an address that is not ours may hold anything and is left out."""
        line: dict[str, object] = {
            "time": round(time.time(), 3),
            "status": response.status,
            "milliseconds": round(1000 * seconds, 3),
            "bytes": len(response.body),
        }
        if request is not None:
            line |= {"request_id": request.id, "method": request.head.method}
            line["route"] = route
            line["body_bytes"] = len(request.body)
            trace = _TRACE(request.head.headers.get("traceparent", ""))
            if trace is not None:
                line |= {"trace_id": trace[1], "parent_id": trace[2]}
        self._lines.append(msgspec.json.encode(line))
        if len(self._lines) >= _MAX_WAITING:
            self.flush()

    def flush(self) -> None:
        """Write what was collected."""
        if self._lines:
            lines, self._lines = self._lines, []
            sys.stderr.write(b"\n".join(lines).decode() + "\n")
            sys.stderr.flush()
