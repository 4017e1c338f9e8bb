"""Run an engine's command, and say in plain words why it failed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence

from roadworthy.errors import OutsideError, RoadworthyError

_CAUSES: tuple[tuple[str, str, str], ...] = (
    (
        r"no space left on device|disk quota exceeded",
        "there is no space left for the image",
        "free some: the engine's `system prune` removes what is unused",
    ),
    (
        r"cannot connect to the docker daemon|is the docker daemon running|"
        r"connection refused.*docker\.sock|permission denied.*docker\.sock",
        "the engine does not answer",
        "start it, and be in the group that may use it",
    ),
    (
        r"unauthorized|authentication required|denied: requested access|no basic auth credentials|"
        r"access forbidden|403 forbidden",
        "the registry refused: not allowed",
        "log in with the engine's `login`, or name a repository that you may use",
    ),
    (
        r"manifest unknown|not found: manifest|pull access denied|repository does not exist|"
        r"name unknown|manifest for .* not found|short-name .* did not resolve|"
        r"unable to find image|no such image|image not known|reading manifest",
        "the image is not known there",
        "check its name, tag and registry",
    ),
    (
        r"exec format error",
        "the image is made for another kind of machine",
        "build it for this one, or push an index that has both",
    ),
    (
        r"no such host|name resolution|connection reset|unexpected eof|broken pipe|i/o timeout|"
        r"tls handshake|connection refused|network is unreachable|eof$|dial tcp|"
        r"server misbehaving|context deadline exceeded",
        "the registry cannot be reached, or the connection was lost",
        "try again; nothing that is half there is tagged",
    ),
    (
        r"hashes are required|do not match the hashes|no matching distribution|"
        r"could not find a version",
        "a package could not be installed exactly as pinned",
        "the base's Python must be 3.11 to 3.13 on Linux x86-64 or arm64, and reach the index",
    ),
)


def run(
    command: Sequence[str],
    *,
    where: str,
    seconds: float = 1800,
    variables: Mapping[str, str] | None = None,
) -> str:
    """Run a command to its end.

    Args:
        command: Program and arguments; no secret among them.
        where: What it concerns, for the error.
        seconds: How long it may take.
        variables: Further environment variables.

    Returns:
        What it printed.

    Raises:
        OutsideError: It is not installed, took too long or failed, with the cause when it is known.
    """
    try:
        done = subprocess.run(
            list(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            env={**os.environ, "LC_ALL": "C.UTF-8", **(variables or {})},
        )
    except FileNotFoundError:
        raise OutsideError(f"{command[0]} is not installed", where=where) from None
    except subprocess.TimeoutExpired:
        raise OutsideError(f"{command[0]} took longer than {seconds:g} s", where=where) from None
    if done.returncode:
        raise explain(f"{done.stdout}\n{done.stderr}", command, where)
    return done.stdout.strip()


def explain(output: str, command: Sequence[str], where: str) -> RoadworthyError:
    """The error for what a failed command printed."""
    for pattern, what, fix in _CAUSES:
        if re.search(pattern, output, re.IGNORECASE | re.MULTILINE):
            return OutsideError(f"{what} ({_last_line(output)})", where=where, fix=fix)
    return OutsideError(f"{' '.join(command[:2])} failed: {_last_line(output)}", where=where)


def installed(program: str) -> bool:
    """Whether a program is on the path."""
    return shutil.which(program) is not None


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"error|denied|fail|unknown", line, re.I)]
    return (telling or lines or ["it printed nothing"])[-1][:300]
