"""Test an image while it runs, with the restrictions that it is made for."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from roadworthy.acceptance import accept
from roadworthy.bundle import Bundle
from roadworthy.bundle.bundle import Golden, same_answer
from roadworthy.errors import CheckFailed, RoadworthyError
from roadworthy.evaluate.gates import Check, Outcome, overall, threshold
from roadworthy.evaluate.metrics import Estimate
from roadworthy.evaluate.verdict import Verdict
from roadworthy.image.container import Container
from roadworthy.image.hardening import GRACE_SECONDS
from roadworthy.image.secrets import test_secrets
from roadworthy.project import Project
from roadworthy.project.gates import parse_rule

_PAUSE = 1.0
"""Seconds between SIGTERM and the rest of a request that is under way."""


def test_image(
    reference: str, bundle: Bundle, project: Project, *, engine: str = "docker"
) -> Verdict:
    """Start an image's container with every restriction, and test it as a caller and an engine do.

    Readiness, restrictions, the image's own health check, golden rows, gates and behaviour (see
    `accept`), dialects, latency, memory, the end on SIGTERM with a request under way, a restart.

    Args:
        reference: The image.
        bundle: The bundle that it serves, to compare with.
        project: `[image]`, `[gates]`, `[behaviour]`, `[serve] dialects`.
        engine: `docker` or `podman`.

    Returns:
        The verdict: that of the bundle's tests against the container, and the container's own.

    Raises:
        InputError: The server speaks TLS.
        OutsideError: The engine has no such image, or does not answer.
    """
    options = project.image
    mounted = None if options.model == "inside" else Path(bundle.path)
    with (
        test_secrets(project.serve) as secrets,
        Container(
            engine, reference, options.memory_mb, mounted, environment=secrets.variables,
            secrets=secrets.files, token=secrets.token,
        ) as container,
    ):  # fmt: skip
        try:
            waited = container.wait_ready()
        except CheckFailed as error:
            return _unready(bundle, project, reference, error)
        shown = f"answers after {waited:.1f} s"
        checks = [Check(name="image.ready", rule="ready", outcome="pass", reason=shown)]
        found = container.look()
        checks += restriction_checks(found)
        checks.append(_said("image.health", "healthy", container.is_healthy(), "its health check"))
        verdict = accept(bundle, None, project, url=container.url, token=secrets.token)
        latency = verdict.costs.get("latency_p99_ms")
        checks.append(_bound("image.latency_p99_ms", options.latency_ms, latency))
        checks += dialect_checks(container, bundle, project)
        memory = Estimate(container.look()["memory_kb"] / 1024)
        checks.append(_bound("image.memory_mb", options.memory_mb, memory))
        checks += _life_checks(container, bundle, secrets.token)
    checks = [*checks, *verdict.checks]
    outcome = overall(checks, verdict.undecided)
    return msgspec.structs.replace(
        verdict, checks=tuple(checks), outcome=outcome, asked=reference
    )  # fmt: skip


test_image.__test__ = False  # type: ignore[attr-defined]  # pytest: a verb of the product


def restriction_checks(found: dict[str, Any]) -> Iterator[Check]:
    """What a process inside sees of its restrictions; see `container.PROBE`."""
    user, writable, tools = found["user"], found["writable"], found["tools"]
    yield _said("image.user", "not root", user != 0, f"user id {user}")
    held = not found["capabilities"]
    yield _said("image.capabilities", "none", held, f"capabilities {found['capabilities']:#x}")
    held = found["no_new_privileges"]
    yield _said("image.no_new_privileges", "set", held, "the kernel's flag")
    shown = f"{', '.join(writable)} can be written" if writable else "nothing can be written"
    yield _said("image.read_only", "root file system", not writable, shown)
    shown = f"{', '.join(tools)} can be run" if tools else "no pip and no compiler"
    yield _said("image.tools", "none that install", not tools, shown)


def dialect_checks(container: Container, bundle: Bundle, project: Project) -> Iterator[Check]:
    """Whether a golden row is answered alike in every dialect that is served."""
    if not bundle.golden:
        return
    golden = next((each for each in bundle.golden if _is_whole(each)), bundle.golden[0])
    for name in project.serve.dialects:
        if name not in _DIALECTS:
            continue  # Vertex: its addresses are there only when Vertex starts it
        path, content, read = _DIALECTS[name](bundle, golden.row)
        reason = f"POST {path} answers as POST /predict"
        held = False
        try:
            status, body = container.ask("POST", path, content)
            held = status == 200 and _close(read(json.loads(body)), golden.expected["prediction"])
            if not held:
                reason = f"POST {path} answers {status} and another prediction"
        except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError) as error:
            reason = f"POST {path} gives no answer of this dialect ({type(error).__name__})"
        yield _said(f"image.dialect.{name}", "same answer", held, reason)


def _life_checks(container: Container, bundle: Bundle, token: str | None) -> Iterator[Check]:
    status, code = _stop_under_way(container, bundle, token)
    held = status == 200 and code == 0
    shown = f"the request under way was answered with {status}, and it ended with code {code}"
    yield _said("image.drain", f"within {GRACE_SECONDS} s of SIGTERM", held, shown)
    try:
        container.start()
        waited = container.wait_ready()
        held, shown = _answers(container, bundle), f"answers {waited:.1f} s after the restart"
    except RoadworthyError as error:
        held, shown = False, error.what
    yield _said("image.restart", "answers again", held, shown)


def _stop_under_way(
    container: Container, bundle: Bundle, token: str | None
) -> tuple[int | None, int]:
    """Stop the container while half a request is there; the answer's status and the exit code."""
    body = json.dumps(bundle.contract.example()).encode()
    head = (
        f"POST /predict HTTP/1.1\r\nHost: {container.port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n"
        + (f"Authorization: Bearer {token}\r\n" if token else "")
        + "\r\n"
    ).encode()
    codes: list[int] = []
    status = None
    with socket.create_connection(("127.0.0.1", container.port), timeout=30) as connection:
        connection.sendall(head + body[:10])
        time.sleep(_PAUSE)  # until the server has read that much
        ending = threading.Thread(target=lambda: codes.append(container.stop()))
        ending.start()
        time.sleep(_PAUSE)
        with contextlib.suppress(OSError, ValueError, IndexError):
            connection.sendall(body[10:])
            status = int(connection.recv(64).split(b" ")[1])
    ending.join()
    return status, codes[0] if codes else -1


def _answers(container: Container, bundle: Bundle) -> bool:
    """Whether a golden row is answered as it should."""
    if not bundle.golden:
        return container.ask("GET", "/readyz")[0] == 200
    golden = bundle.golden[0]
    status, body = container.ask("POST", "/predict", golden.row)
    scale = bundle.contract.target.scale
    return status == 200 and same_answer(json.loads(body), golden.expected, scale)


def _unready(bundle: Bundle, project: Project, reference: str, error: CheckFailed) -> Verdict:
    failed = Check(name="image.ready", rule="ready", outcome="fail", reason=error.what)
    return Verdict(
        name=bundle.manifest.name,
        version=bundle.version,
        outcome="fail",
        undecided=project.gates.undecided,
        asked=reference,
        data="nothing",
        checks=(failed,),
    )


def _said(name: str, rule: str, held: bool, reason: str) -> Check:
    outcome: Outcome = "pass" if held else "fail"
    return Check(name=name, rule=rule, outcome=outcome, reason=reason)


def _bound(name: str, limit: float, found: Estimate | None) -> Check:
    rule = f"<= {limit:g}"
    asked = parse_rule(rule)
    assert asked is not None
    return threshold(name, rule, asked, found)


def _is_whole(golden: Golden) -> bool:
    """Whether a row has no blanks, which not every dialect can say."""
    return all(cell is not None for cell in golden.row.values())


def _close(given: Any, expected: Any) -> bool:
    if isinstance(expected, (int, float)) and not isinstance(expected, bool):
        return abs(float(given) - expected) <= 1e-6 * max(1.0, abs(expected))
    return bool(given == expected)


_Asked = tuple[str, Any, Callable[[Any], Any]]


def _invocations(bundle: Bundle, row: dict[str, Any]) -> _Asked:
    return "/invocations", {"dataframe_records": [row]}, lambda got: _value(got["predictions"][0])


def _inference(bundle: Bundle, row: dict[str, Any]) -> _Asked:
    kinds = {str: "BYTES", bool: "BOOL"}
    inputs = [
        {"name": name, "shape": [1, 1], "datatype": kinds.get(type(cell), "FP64"), "data": [cell]}
        for name, cell in row.items()
        if cell is not None
    ]
    path = f"/v2/models/{bundle.manifest.name}/infer"
    return path, {"inputs": inputs}, lambda got: got["outputs"][0]["data"][0]


def _kserve(bundle: Bundle, row: dict[str, Any]) -> _Asked:
    path = f"/v1/models/{bundle.manifest.name}:predict"
    return path, {"instances": [row]}, lambda got: _value(got["predictions"][0])


def _azure(bundle: Bundle, row: dict[str, Any]) -> _Asked:
    content = {"input_data": {"columns": list(row), "index": [0], "data": [list(row.values())]}}
    return "/score", content, lambda got: _value(got[0])


def _value(entry: Any) -> Any:
    return entry.get("prediction") if isinstance(entry, dict) else entry


_DIALECTS: dict[str, Callable[[Bundle, dict[str, Any]], _Asked]] = {
    "invocations": _invocations,
    "inference": _inference,
    "kserve": _kserve,
    "azure": _azure,
}
