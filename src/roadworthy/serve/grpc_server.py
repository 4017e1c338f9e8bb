"""The Open Inference Protocol and the health service over gRPC, on a port of their own.

They need `roadworthy[grpc]`.
"""

from __future__ import annotations

import logging
import math
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

import roadworthy
from roadworthy.errors import OutsideError
from roadworthy.project import ServeSection
from roadworthy.serve.app import App
from roadworthy.serve.columns import Cells
from roadworthy.serve.dialects.inference import (
    metadata,
    outputs_of,
    pack,
    tensor_columns,
    unpack,
    wanted_outputs,
)
from roadworthy.serve.grpc_calls import Calls, Method
from roadworthy.serve.messages import Request
from roadworthy.serve.models import Model
from roadworthy.serve.problems import RequestProblem
from roadworthy.serve.routes import Scope
from roadworthy.serve.tokens import stamp_of

if TYPE_CHECKING:
    from roadworthy.serve.grpc_health import Health

log = logging.getLogger("roadworthy.serve")


class GrpcServer:
    """A server that runs.

    Args:
        server: The library's.
        health: What says that it runs.
    """

    def __init__(self, server: Any, health: Health) -> None:
        self._server = server
        self._health = health

    async def stop(self, seconds: float) -> None:
        """Take no further call, and give those that were begun so much time."""
        self._health.end()
        await self._server.stop(seconds)


async def start_grpc(app: App, options: ServeSection) -> GrpcServer:
    """Start the services on `[serve] grpc_port`; every worker listens there.

    Raises:
        OutsideError: Its library is missing, or the port cannot be had.
    """
    try:
        import grpc

        from roadworthy.serve.grpc_health import Health
        from roadworthy.serve.grpc_messages import SERVICE, message_classes
    except ImportError:
        raise OutsideError(
            "gRPC needs grpcio and protobuf",
            where="serve.grpc_port",
            fix="pip install roadworthy[grpc]",
        ) from None
    size = int(options.max_body_mb * 1_000_000)
    server = grpc.aio.server(
        options=[
            ("grpc.so_reuseport", 1),
            ("grpc.max_receive_message_length", size),
            ("grpc.max_concurrent_streams", options.max_in_flight),
        ],
        maximum_concurrent_rpcs=options.max_connections,
    )
    service = _Service(app, message_classes())
    calls = Calls(app, grpc)
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            calls.answering(name, service.classes[f"{name}Request"].FromString, method, scope)
        )
        for name, (method, scope) in service.methods().items()
    }
    health = Health(calls, grpc)
    own = grpc.method_handlers_generic_handler(SERVICE, handlers)
    server.add_generic_rpc_handlers((own, health.handler()))
    host = f"[{options.host}]" if ":" in options.host else options.host
    address = f"{host}:{options.grpc_port}"
    try:
        if options.tls_certificate:
            server.add_secure_port(address, _credentials(options, grpc))
        else:
            server.add_insecure_port(address)
    except RuntimeError:
        raise OutsideError(
            f"cannot listen on {address} for gRPC", fix="choose another grpc_port"
        ) from None
    await server.start()
    return GrpcServer(server, health)


def _credentials(options: ServeSection, grpc: Any) -> Any:
    """The certificate of new connections, read again when its files change."""
    authority = Path(options.client_ca).read_bytes() if options.client_ca else None
    files = [Path(str(file)) for file in (options.tls_key, options.tls_certificate)]

    def look() -> list[tuple[int, int]]:
        return [stamp_of(file) for file in files]

    def read() -> Any:
        key, certificate = (file.read_bytes() for file in files)
        return grpc.ssl_server_certificate_configuration([(key, certificate)], authority)

    known = look()

    def renew() -> Any:
        nonlocal known
        try:
            stamp = look()
            if stamp == known:
                return None
            pair = str(options.tls_certificate), str(options.tls_key)
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*pair)  # a rehearsal
            configuration = read()
        except (OSError, ssl.SSLError) as error:
            log.error("the certificate of gRPC stays as it is: %s", type(error).__name__)
            return None
        known = stamp
        return configuration

    return grpc.dynamic_ssl_server_credentials(
        read(), renew, require_client_authentication=authority is not None
    )


class _Service:
    """The methods of the service."""

    def __init__(self, app: App, classes: dict[str, Any]) -> None:
        self.app = app
        self.classes = classes

    def methods(self) -> dict[str, tuple[Method, Scope]]:
        """Name -> method and what a caller must be allowed."""
        return {
            "ServerLive": (self._live, "open"),
            "ServerReady": (self._server_ready, "open"),
            "ModelReady": (self._ready, "open"),
            "ServerMetadata": (self._server, "open"),
            "ModelMetadata": (self._metadata, "open"),
            "ModelInfer": (self._infer, "predict"),
        }

    def _model(self, name: str) -> Model:
        for model in self.app.models:
            if model.name == name:
                return model
        names = ", ".join(model.name for model in self.app.models)
        raise RequestProblem(404, f"the models are {names}")

    async def _live(self, _: Any, __: Request) -> Any:
        return self.classes["ServerLiveResponse"](live=True)

    async def _server_ready(self, _: Any, __: Request) -> Any:
        return self.classes["ServerReadyResponse"](ready=True)

    async def _ready(self, message: Any, request: Request) -> Any:
        self._model(message.name).choose(request, message.version or None)
        return self.classes["ModelReadyResponse"](ready=True)

    async def _server(self, _: Any, __: Request) -> Any:
        return self.classes["ServerMetadataResponse"](
            name="roadworthy", version=roadworthy.__version__
        )

    async def _metadata(self, message: Any, request: Request) -> Any:
        model = self._model(message.name)
        predictor = model.choose(request, message.version or None)
        return self.classes["ModelMetadataResponse"](**metadata(model, predictor))

    async def _infer(self, message: Any, request: Request) -> Any:
        model = self._model(message.model_name)
        predictor = model.choose(request, message.model_version or None)
        table = tensor_columns(predictor.reader, _tensors(message))
        batch = await predictor.batch(await predictor.reader.table(table), request.id)
        asked = [{"name": output.name} for output in message.outputs]
        answer = self.classes["ModelInferResponse"](
            model_name=model.name,
            model_version=predictor.short_version,
            id=message.id or request.id,
        )
        for output in wanted_outputs(outputs_of(predictor, batch), {"outputs": asked}):
            answer.outputs.add(
                name=output["name"], datatype=output["datatype"], shape=output["shape"]
            )
            answer.raw_output_contents.append(pack(output))
        return answer


def _tensors(message: Any) -> dict[str, tuple[list[int], Cells]]:
    """The tensors of a request, raw or in typed lists."""
    from roadworthy.serve.grpc_messages import CONTENTS

    raw = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        raise RequestProblem(400, "raw_input_contents must hold every input")
    tensors: dict[str, tuple[list[int], Cells]] = {}
    for place, tensor in enumerate(message.inputs):
        name, kind = tensor.name, tensor.datatype
        if name in tensors:
            raise RequestProblem(400, "an input stands twice: send each once")
        if kind not in CONTENTS:
            raise RequestProblem(400, f"input {place} has an unknown datatype")
        if raw:
            cells = unpack(raw[place], kind, name)
        else:
            cells = list(getattr(tensor.contents, CONTENTS[kind]))
            cells = _texts(cells, name) if kind == "BYTES" else cells
            cells = [None if cell != cell else cell for cell in cells]
        shape = list(tensor.shape)
        if not shape or min(shape) < 0 or math.prod(shape) != len(cells):
            raise RequestProblem(400, f"input {place} has other cells than its shape says")
        tensors[name] = shape, cells
    return tensors


def _texts(cells: list[bytes], name: str) -> list[Any]:
    try:
        return [cell.decode() for cell in cells]
    except UnicodeDecodeError:
        raise RequestProblem(400, f"the input {name!r} is not UTF-8 text") from None
