"""How a fleet's balancer is asked for a release before callers get it, and then as callers do."""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import sys
import time
from collections.abc import Iterator
from subprocess import PIPE
from urllib.parse import urlsplit

from roadworthy.deploy.host.probe import ask
from roadworthy.deploy.tunnel import tunnel
from roadworthy.errors import OutsideError

_ELSEWHERE = ("404", "500", "502", "503")
"""What a balancer or another release says of a release that it does not know (yet)."""


def until_reached(place: str, seconds: float, pause: float) -> None:
    """Wait until a release answers.

    Raises:
        OutsideError: It does not answer in time.
    """
    end = time.monotonic() + seconds
    while (said := _said(f"{place}/predict")) in _ELSEWHERE or not said.isdigit():
        if time.monotonic() > end:
            raise OutsideError(f"the release is not reached: {said}", where=place)
        time.sleep(pause)


def answered(secured: bool, address: str, port: int, seconds: float, pause: float) -> str:
    """Ask as callers do until they are answered; what was said at last, empty when well."""
    scheme, end = "https" if secured else "http", time.monotonic() + seconds
    while (said := ask(scheme, address, port)) != "200":
        if time.monotonic() > end:
            return said
        time.sleep(pause)
    return ""


@contextlib.contextmanager
def by_tls(address: str, port: int, name: str) -> Iterator[str]:
    """A balancer by its number, before the name of its certificate leads to it."""
    relay = [
        sys.executable, "-m", "roadworthy.deploy.cloud.relay", address, str(port),
        name.replace("*", "roadworthy"),
    ]  # fmt: skip
    with tunnel(lambda: subprocess.Popen(relay, stdin=PIPE, stdout=PIPE)) as url:
        yield url


def _said(url: str) -> str:
    """The status that an empty request is answered with, or what went wrong."""
    parts = urlsplit(url)
    try:
        with contextlib.closing(
            http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
        ) as connection:
            connection.request("POST", parts.path, b"", {"Content-Type": "application/json"})
            return str(connection.getresponse().status)
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
