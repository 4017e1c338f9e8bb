"""Addresses, and what answers at them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from roadworthy.serve.messages import Handler, Request, Response
from roadworthy.serve.problems import RequestProblem

Scope = Literal["open", "read", "predict", "metrics"]
Refusal = Callable[[RequestProblem, str], Response]


def native_refusal(problem: RequestProblem, request_id: str) -> Response:
    """A problem document."""
    return problem.response(request_id)


class Route(NamedTuple):
    """What answers at an address.

    Attributes:
        method: `GET` (then `HEAD` too) or `POST`.
        handler: What answers.
        scope: What a caller must be allowed; `open` is for everybody.
        refusal: The form that problems take here.
        label: The address in metrics; empty takes the address itself.
        model: The model that it asks, for metrics.
    """

    method: str
    handler: Handler
    scope: Scope = "read"
    refusal: Refusal = native_refusal
    label: str = ""
    model: str = ""


def constant(content: bytes, scope: Scope = "read") -> Route:
    """A page of JSON that never changes."""
    return Route("GET", lambda _: Response(200, content), scope)


def check_method(route: Route, request: Request) -> None:
    """Refuse a method that the route does not take."""
    method = request.head.method
    if method == route.method or (method == "HEAD" and route.method == "GET"):
        return
    if route.method == "POST":
        raise RequestProblem(405, "send rows by POST", headers=(("allow", "POST"),))
    raise RequestProblem(405, "read this by GET", headers=(("allow", "GET, HEAD"),))
