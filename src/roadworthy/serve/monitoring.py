"""What monitoring wrote of a model, as the dashboard fetches it.

Monitoring needs SciPy, the prediction log and labels, and looks at all workers and hosts together:
`roadworthy monitor watch` does that in a process of its own and leaves a page in the folder of the
counts. The server hands it out and computes nothing.
"""

from __future__ import annotations

import time

from roadworthy.observe.store import WindowStore
from roadworthy.serve.messages import Request, Response

_HEADERS = (
    ("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cache-control", "no-cache"),
)


def monitoring_part(store: WindowStore | None, model: str, request: Request) -> Response:
    """The page of a model: 204 when there is none, 304 when the caller has it.

    Args:
        store: Where served models are counted.
        model: The model's name.
        request: What is asked.
    """
    if store is None:
        return Response(204, b"", "")
    place = store.page(model)
    try:
        about = place.stat()
        tag = f'"{about.st_mtime_ns:x}-{about.st_size:x}"'
        headers = (
            *_HEADERS,
            ("etag", tag),
            ("age", str(max(0, int(time.time() - about.st_mtime)))),
        )
        if request.head.headers.get("if-none-match") == tag:
            return Response(304, b"", "", headers)
        return Response(200, place.read_bytes(), "text/html; charset=utf-8", headers)
    except OSError:
        return Response(204, b"", "")
