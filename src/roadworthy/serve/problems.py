"""Problem documents (RFC 9457): what is wrong and where, never the caller's data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from roadworthy.errors import Problem
from roadworthy.serve.messages import Response

TITLES = {
    400: "The request cannot be read",
    401: "Who asks is not known",
    403: "Who asks may not do this",
    404: "There is nothing here",
    405: "This address does not take this method",
    408: "The request did not arrive in time",
    411: "The request does not say how long it is",
    413: "The request is too large",
    415: "The request body has an unsupported type",
    417: "The expectation cannot be met",
    422: "The rows break the model's contract",
    429: "Too many requests",
    431: "The head of the request is too large",
    500: "The server failed on this request",
    503: "The server cannot take this request now",
}
MEDIA_TYPE = "application/problem+json"


class RequestProblem(Exception):  # noqa: N818 (it becomes a problem document)
    """A request that gets a problem document for an answer.

    Args:
        status: HTTP status.
        detail: What is wrong with this request and what to do.
        problems: Cell by cell, for rows that break the contract.
        headers: Further response headers.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        problems: Sequence[Problem] = (),
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.problems = problems
        self.headers = headers

    def response(self, request_id: str) -> Response:
        """The answer."""
        headers = (("x-request-id", request_id), *self.headers)
        return Response(self.status, self.document(request_id), MEDIA_TYPE, headers)

    def document(self, request_id: str) -> bytes:
        """The JSON document."""
        content: dict[str, Any] = {
            "type": "about:blank",
            "title": TITLES[self.status],
            "status": self.status,
            "detail": self.detail,
            "request_id": request_id,
        }
        if self.problems:
            content["errors"] = [
                {
                    key: value
                    for key, value in (
                        ("row", problem.row),
                        ("column", problem.column),
                        ("reason", problem.reason),
                    )
                    if value is not None
                }
                for problem in self.problems
            ]
        return msgspec.json.encode(content)
