"""A gRPC call goes the way of a request: limits, request id, trace, counts, access log.

What stands in headers over HTTP stands in the metadata of a call, and of its end.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any
from urllib.parse import unquote

from roadworthy.serve.app import App
from roadworthy.serve.dialects._base import full_detail
from roadworthy.serve.heads import own_request_id
from roadworthy.serve.listener import fault
from roadworthy.serve.messages import Head, Request, Response
from roadworthy.serve.problems import RequestProblem
from roadworthy.serve.routes import Route, Scope, constant

Method = Callable[[Any, Request], Awaitable[Any]]
"""What answers a message, which came with a request."""


class Calls:
    """Answers calls.

    Args:
        app: What a call is counted by and held to.
        grpc: The library.
    """

    def __init__(self, app: App, grpc: Any) -> None:
        self.app = app
        codes = grpc.StatusCode
        self._invalid = codes.INVALID_ARGUMENT
        self._codes = {
            401: codes.UNAUTHENTICATED,
            403: codes.PERMISSION_DENIED,
            404: codes.NOT_FOUND,
            429: codes.RESOURCE_EXHAUSTED,
            500: codes.INTERNAL,
            503: codes.UNAVAILABLE,
        }

    def answering(
        self, name: str, read: Callable[[bytes], Any], method: Method, scope: Scope
    ) -> Callable[[bytes, Any], Awaitable[bytes]]:
        """What answers the calls of a method: bytes in, bytes out.

        Args:
            name: The method's name.
            read: Bytes -> message.
            method: What answers it.
            scope: What a caller must be allowed.
        """
        nowhere = constant(b"", scope)._replace(method="POST", label=f"/grpc/{name}")

        async def answer(content: bytes, context: Any) -> bytes:
            start = perf_counter()
            request = self._begin(nowhere, content, context)
            route = nowhere
            try:
                caller = self._caller(request, scope)
                message = _message(read, content)
                route = nowhere._replace(model=self._model_named(message))
                with self.app.in_flight.working(caller):
                    found: bytes = (await method(message, request)).SerializeToString()
            except RequestProblem as problem:
                self.app.refused(route, problem)
                await self._refuse(route, request, problem, context, start)
                raise  # it was aborted: nothing comes here
            except Exception as error:
                status = fault(request, error).status
                broken = RequestProblem(status, f"an internal error; request {request.id}")
                await self._refuse(route, request, broken, context, start)
                raise
            self._note(route, request, Response(200, found), start)
            return found

        return answer

    def _begin(self, route: Route, content: bytes, context: Any) -> Request:
        given: dict[str, str] = {}
        for name, value in context.invocation_metadata():
            if isinstance(value, str):
                given[name] = f"{given[name]}, {value}" if name in given else value
        own = own_request_id(given)
        head = Head("POST", route.label, "", given, len(content), True, own)
        certificate = (context.auth_context().get("x509_common_name") or [b""])[0].decode()
        client = _address(context.peer())
        request = Request(head, content, client, own or uuid.uuid4().hex, certificate)
        if self.app.telemetry is not None:
            request.trace = self.app.telemetry.begin(request)
        context.set_trailing_metadata(_told(request))
        return request

    def _caller(self, request: Request, scope: Scope) -> str:
        """Whom a call is counted for, once it may go on."""
        caller = self.app.guard.check(request, scope)
        name = caller.name if caller else self.app.guard.proxies.client(request)
        self.app.in_flight.check(name, caller.in_flight if caller else None)
        return name

    def _model_named(self, message: Any) -> str:
        """The model that a message names, for metrics; empty for none of ours."""
        name = getattr(message, "model_name", "") or getattr(message, "name", "")
        return name if name in {model.name for model in self.app.models} else ""

    async def _refuse(
        self, route: Route, request: Request, problem: RequestProblem, context: Any, start: float
    ) -> None:
        """Note a refusal and end the call with it."""
        self._note(route, request, Response(problem.status, b""), start)
        code = self._codes.get(problem.status, self._invalid)
        await context.abort(code, full_detail(problem), (*_told(request), *problem.headers))

    def _note(self, route: Route, request: Request, response: Response, start: float) -> None:
        self.app.note_at(route, "", request, response, perf_counter() - start)


def _message(read: Callable[[bytes], Any], content: bytes) -> Any:
    from google.protobuf.message import DecodeError

    try:
        return read(content)
    except DecodeError:
        raise RequestProblem(400, "the message is not what the protocol describes") from None


def _told(request: Request) -> tuple[tuple[str, str], ...]:
    told = (("x-request-id", request.id),)
    return told if request.trace is None else (*told, ("traceparent", request.trace.header))


def _address(peer: str) -> str:
    """The address in `ipv4:192.0.2.1:5000` or `ipv6:[::1]:5000`, quoted or not; else empty."""
    found = re.fullmatch(r"ipv[46]:\[?([0-9a-fA-F:.]+?)(?:%\w+)?\]?:\d+", unquote(peer))
    return found[1] if found else ""
