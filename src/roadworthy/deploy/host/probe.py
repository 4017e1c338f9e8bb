"""Ask from the host itself whether callers are answered.

    python -m roadworthy.deploy.host.probe http|https PORT SECONDS

Tries `/readyz` by way of the proxy until it answers 200 or the seconds are over; exit code 1 then.
The certificate is not judged: a new one may still be on its way, and callers judge it themselves.
"""

from __future__ import annotations

import contextlib
import http.client
import ssl
import sys
import time


def main(scheme: str, port: str, seconds: str) -> int:
    """Ask until it answers; returns the exit code."""
    end = time.monotonic() + float(seconds)
    while (said := ask(scheme, "127.0.0.1", int(port))) != "200":
        if time.monotonic() > end:
            print(f"the public port answers: {said}", file=sys.stderr)
            return 1
        time.sleep(0.1)
    return 0


def ask(scheme: str, host: str, port: int) -> str:
    """The status that `/readyz` is answered with, or what went wrong."""
    try:
        with contextlib.closing(_connect(scheme, host, port)) as connection:
            connection.request("GET", "/readyz")
            return str(connection.getresponse().status)
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__


def _connect(scheme: str, host: str, port: int) -> http.client.HTTPConnection:
    if scheme == "http":
        return http.client.HTTPConnection(host, port, timeout=5)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(host, port, timeout=5, context=context)


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:4]))
