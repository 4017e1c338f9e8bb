"""Problem documents (RFC 9457): what is wrong and where, never the caller's data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from roadworthy.errors import Problem

TITLES = {
    400: "The request body cannot be read",
    404: "There is nothing here",
    405: "This address does not take this method",
    413: "The request is too large",
    415: "The request body has an unsupported type",
    422: "The rows break the model's contract",
    500: "The server failed on this request",
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
