"""The floor: Granian with a handler that reads the body and answers a constant."""

from __future__ import annotations

import sys
from typing import Any

from granian import Granian
from granian.constants import Interfaces, Loops

ANSWER = b'{"prediction":"<=50K","probabilities":{"<=50K":0.703101695,">50K":0.296898305}}'


async def empty(scope: Any, protocol: Any) -> None:
    await protocol()
    protocol.response_bytes(200, [("content-type", "application/json")], ANSWER)


def load() -> Any:
    return empty


if __name__ == "__main__":
    Granian(
        "empty",
        port=int(sys.argv[1]),
        interface=Interfaces.RSGI,
        loop=Loops.asyncio,
        websockets=False,
        log_enabled=False,
    ).serve(target_loader=load, wrap_loader=False)
