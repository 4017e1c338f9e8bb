"""The health service of gRPC, which Kubernetes, Envoy and gRPC's own clients ask.

Source: https://github.com/grpc/grpc/blob/master/doc/health-checking.md. A worker listens only once
its golden rows are right, so that what answers here is ready; a worker that is about to end says
so to whom it was asked to tell, before it ends the call.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from roadworthy.serve.grpc_calls import Calls
from roadworthy.serve.grpc_messages import SERVICE, message_classes
from roadworthy.serve.messages import Request
from roadworthy.serve.problems import RequestProblem

HEALTH = "grpc.health.v1.Health"
_MESSAGES = {
    "HealthCheckRequest": ("string service 1",),
    "HealthCheckResponse": ("int32 status 1",),  # an enumeration is an int32 on the wire
}
_SERVING, _NOT_SERVING, _UNKNOWN = 1, 2, 3
_NAMES = ("", SERVICE)
_MAX_WATCHERS = 256


class Health:
    """Answers who asks how the worker is.

    Args:
        calls: What a call is counted by and held to.
        grpc: The library.
    """

    def __init__(self, calls: Calls, grpc: Any) -> None:
        classes = message_classes("grpc.health.v1", _MESSAGES)
        self._request, self._response = (classes[name] for name in _MESSAGES)
        self._calls = calls
        self._grpc = grpc
        self._ending = asyncio.Event()
        self._watchers = 0

    def handler(self) -> Any:
        """What takes the service's calls."""
        check = self._calls.answering("Check", self._request.FromString, self._check, "open")
        methods = {
            "Check": self._grpc.unary_unary_rpc_method_handler(check),
            "Watch": self._grpc.unary_stream_rpc_method_handler(self._watch),
        }
        return self._grpc.method_handlers_generic_handler(HEALTH, methods)

    def end(self) -> None:
        """Tell who watches that the worker is about to end."""
        self._ending.set()

    async def _check(self, message: Any, _: Request) -> Any:
        if message.service not in _NAMES:
            raise RequestProblem(404, f"the services are '' and {SERVICE!r}")
        return self._response(status=_NOT_SERVING if self._ending.is_set() else _SERVING)

    async def _watch(self, content: bytes, context: Any) -> AsyncIterator[bytes]:
        from google.protobuf.message import DecodeError

        codes = self._grpc.StatusCode
        try:
            known = self._request.FromString(content).service in _NAMES
        except DecodeError:
            await context.abort(codes.INVALID_ARGUMENT, "the message is not a HealthCheckRequest")
        if self._watchers >= _MAX_WATCHERS:
            await context.abort(codes.RESOURCE_EXHAUSTED, "too many are watching: ask Check")
        self._watchers += 1
        try:
            yield self._told(_SERVING if known else _UNKNOWN)
            await self._ending.wait()
            yield self._told(_NOT_SERVING if known else _UNKNOWN)
        finally:
            self._watchers -= 1

    def _told(self, status: int) -> bytes:
        told: bytes = self._response(status=status).SerializeToString()
        return told
