"""HTTP/1.1 on the wire: what is right is answered in order, what is ambiguous is refused, and
nobody waits or is waited for without end."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roadworthy.serve.chunks import ChunkedBody
from roadworthy.serve.problems import RequestProblem
from tests.conftest import Server, Trained, serving
from tests.serve.test_bad_input import ROW, TEXT

BODY = TEXT.encode()
JSON = "application/json"
POST = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def hasty(
    bundles: dict[str, Trained], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server with short deadlines and few connections."""
    folder = tmp_path_factory.mktemp("hasty")
    (folder / "roadworthy.toml").write_text(
        "[serve]\nheader_seconds = 1\nbody_seconds = 1\nkeep_alive_seconds = 2\n"
        "max_connections = 20\nmax_body_mb = 0.2\n"
    )
    with serving(bundles["binary"].bundle.path, cwd=folder) as running:
        yield running


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


def until_closed(connection: socket.socket, seconds: float = 20.0) -> bytes:
    received = b""
    connection.settimeout(seconds)
    with contextlib.suppress(OSError):
        while part := connection.recv(65536):
            received += part
    return received


def answers(received: bytes) -> list[int]:
    """Statuses of whole answers in a row; fails on bytes that belong to none."""
    statuses = []
    while received:
        head, found, rest = received.partition(b"\r\n\r\n")
        assert found, received[:200]
        statuses.append(int(head.split()[1]))
        length = [
            int(line.split(b":")[1])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length:")
        ]
        assert length or statuses[-1] == 100
        received = rest[length[0] :] if length else rest
    return statuses


REFUSED: dict[str, bytes] = {
    "length and chunks": POST + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + GET,
    "chunks and length": POST + b"Transfer-Encoding: chunked\r\n" + LENGTH + b"\r\n0\r\n\r\n",
    "two equal lengths": POST + LENGTH + LENGTH + b"\r\n" + BODY,
    "two lengths in one": POST + b"Content-Length: 5, 5\r\n\r\nabcde",
    "a length with a plus": POST + b"Content-Length: +5\r\n\r\nabcde",
    "a length with a blank": POST + b"Content-Length: 5 5\r\n\r\nabcde",
    "a hexadecimal length": POST + b"Content-Length: 0x5\r\n\r\nabcde",
    "a length with an underscore": POST + b"Content-Length: 1_0\r\n\r\nabcde",
    "a length with a point": POST + b"Content-Length: 5.0\r\n\r\nabcde",
    "a length that overflows": POST + b"Content-Length: 99999999999999999999999\r\n\r\nabcde",
    "no length and no chunks": POST + b"\r\n" + BODY,
    "an empty length": POST + b"Content-Length:\r\n\r\n" + BODY,
    "another coding": POST + b"Transfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
    "chunked and another": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked not last": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked twice": POST + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n0\r\n\r\n",
    "chunked, quoted": POST + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "a word like chunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": CHUNKED.replace(b"1.1", b"1.0") + b"0\r\n\r\n",
    "chunked by a vertical tab": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "a tab before the colon": POST + b"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": POST + b"Content-Length : 5\r\n\r\nabcde",
    "a folded line": POST + b"X-A: 1\r\n Content-Length: 5\r\n\r\nabcde",
    "a folded first line": b"GET /livez HTTP/1.1\r\n Host: x\r\n\r\n",
    "bare line feeds": GET.replace(b"\r\n", b"\n"),
    "one bare line feed": POST + b"X-A: 1\n" + LENGTH + b"\r\n" + BODY,
    "a bare carriage return": POST + b"X-A: 1\rX-B: 2\r\n" + LENGTH + b"\r\n" + BODY,
    "a NUL in a value": POST + b"X-A: a\0b\r\n" + LENGTH + b"\r\n" + BODY,
    "a NUL in a name": POST + b"X\0A: 1\r\n" + LENGTH + b"\r\n" + BODY,
    "a name with a bracket": POST + b"X(A): 1\r\n" + LENGTH + b"\r\n" + BODY,
    "no name": POST + b": 1\r\n" + LENGTH + b"\r\n" + BODY,
    "no colon": POST + b"X-A\r\n" + LENGTH + b"\r\n" + BODY,
    "no host": b"GET /livez HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "two content types": POST + b"Content-Type: text/csv\r\n" + LENGTH + b"\r\n" + BODY,
    "two keys": POST + b"X-API-Key: a\r\nX-API-Key: b\r\n" + LENGTH + b"\r\n" + BODY,
    "two authorizations": POST + b"Authorization: a\r\n" * 2 + LENGTH + b"\r\n" + BODY,
    "HTTP/0.9": b"GET /livez\r\n\r\n",
    "HTTP/1.2": GET.replace(b"1.1", b"1.2"),
    "HTTP/2.0": GET.replace(b"1.1", b"2.0"),
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/1.1.1": GET.replace(b"1.1", b"1.1.1"),
    "HTTP/one": GET.replace(b"1.1", b"one"),
    "a lower-case method": GET.replace(b"GET", b"get"),
    "an unknown method": GET.replace(b"GET", b"FETCH"),
    "no method": GET[3:],
    "two spaces": GET.replace(b" /", b"  /"),
    "a space in the address": GET.replace(b"/livez", b"/li vez"),
    "a control character in the address": GET.replace(b"/livez", b"/li\x01vez"),
    "an address beyond ASCII": GET.replace(b"/livez", b"/liv\xc3\xa9z"),
    "SSH": b"SSH-2.0-OpenSSH_9.2p1\r\n",
    "SMTP": b"EHLO example.org\r\n",
    "Redis": b"*1\r\n$4\r\nPING\r\n",
    "binary": bytes(range(128, 256)) * 4,
    "a TLS greeting": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 200,
    "chunk size with a minus": CHUNKED + b"-5\r\nabcde\r\n0\r\n\r\n",
    "chunk size with a plus": CHUNKED + b"+5\r\nabcde\r\n0\r\n\r\n",
    "chunk size with 0x": CHUNKED + b"0x5\r\nabcde\r\n0\r\n\r\n",
    "chunk size with a space before": CHUNKED + b" 5\r\nabcde\r\n0\r\n\r\n",
    "chunk size with an underscore": CHUNKED + b"1_0\r\nabcde\r\n0\r\n\r\n",
    "no chunk size": CHUNKED + b"\r\nabcde\r\n0\r\n\r\n",
    "a huge chunk": CHUNKED + b"ffffffff\r\nabcde",
    "a chunk size that overflows": CHUNKED + b"fffffffffffffffff\r\nabcde",
    "a chunk longer than said": CHUNKED + b"3\r\nabcde\r\n0\r\n\r\n",
    "a chunk ended by a line feed": CHUNKED + b"5\r\nabcde\n0\r\n\r\n",
    "a chunk line ended by a line feed": CHUNKED + b"5\nabcde\r\n0\r\n\r\n",
    "an endless chunk extension": CHUNKED + b"5;" + b"a" * 5000,
    "endless trailers": CHUNKED + b"0\r\n" + b"X: 1\r\n" * 5000,
    "an unknown expectation": POST + b"Expect: a-miracle\r\n" + LENGTH + b"\r\n" + BODY,
    "one long header": POST + b"X-A: " + b"a" * 20_000 + b"\r\n\r\n",
    "a header of 100 kB": POST + b"X-A: " + b"a" * 100_000 + b"\r\n\r\n",
    "a long address": b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "500 headers": POST + b"".join(b"X-%d: 1\r\n" % i for i in range(500)) + LENGTH + b"\r\n",
    "a body that is too large": POST + b"Content-Length: 200001\r\n\r\n" + BODY,
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_clear_request_is_refused_with_a_reason(hasty: Server, name: str) -> None:
    with connect(hasty) as connection:
        with contextlib.suppress(OSError):  # cut off while we are still sending
            connection.sendall(REFUSED[name])
        start = time.monotonic()
        received = until_closed(connection)
        assert time.monotonic() - start < 20
    (status,) = answers(received)  # nothing behind it is taken for a request
    assert 400 <= status < 500
    problem = json.loads(received.partition(b"\r\n\r\n")[2])
    assert problem["status"] == status
    assert problem["detail"]
    assert hasty.get("/livez")[0] == 200


@pytest.mark.parametrize(
    ("sent", "statuses"),
    [
        (GET * 3, [200] * 3),
        (GET + POST + LENGTH + b"\r\n" + BODY + GET, [200] * 3),
        (b"\r\n" + GET + b"\r\n\r\n" + GET, [200] * 2),
        (GET + b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n" + GET, [200, 404, 200]),
        (CHUNKED + b"5\r\n" + BODY[:5] + b"\r\n%x;a=b\r\n" % (len(BODY) - 5) + BODY[5:]
         + b"\r\n0\r\nX-Trailer: 1\r\n\r\n" + GET, [200, 200]),
        (POST + LENGTH + b"Expect: 100-continue\r\n\r\n" + BODY + GET, [200, 200]),
        (b"GET http://x.example/livez HTTP/1.1\r\nHost: x\r\n\r\n", [200]),
        (b"GET /livez?a=b#c HTTP/1.1\r\nHost: x\r\n\r\n", [200]),
        (b"GET /%6civez HTTP/1.1\r\nHost: x\r\n\r\n", [200]),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n" + GET,
         [200, 200]),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" + GET, [200, 200]),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" + GET, [200]),
        (b"GET /livez HTTP/1.0\r\n\r\n" + GET, [200]),
        (b"GET /livez HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + GET, [200, 200]),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n" + GET, [404, 200]),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", [404]),
        (b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" + GET, [405, 200]),
    ],
)  # fmt: skip
def test_requests_on_one_connection_are_answered_in_order(
    hasty: Server, sent: bytes, statuses: list[int]
) -> None:
    for pieces in (1, 7, 60):
        with connect(hasty) as connection:
            size = -(-len(sent) // pieces)
            for start in range(0, len(sent), size):
                connection.sendall(sent[start : start + size])
                if pieces > 1:
                    time.sleep(0.001)
            connection.shutdown(socket.SHUT_WR)
            received = until_closed(connection, 3)
        assert [status for status in answers(received) if status != 100] == statuses


def test_head_says_what_get_would_without_the_content(hasty: Server) -> None:
    with connect(hasty) as connection:
        connection.sendall(b"HEAD /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        head, _, content = until_closed(connection).partition(b"\r\n\r\n")
    assert b"content-length: 17" in head
    assert content == b""


def test_a_client_that_waits_for_continue_gets_it(hasty: Server) -> None:
    with connect(hasty) as connection:
        connection.sendall(POST + LENGTH + b"Expect: 100-continue\r\n\r\n")
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(BODY)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")


def test_a_client_that_would_send_too_much_is_told_before_it_sends(hasty: Server) -> None:
    with connect(hasty) as connection:
        connection.sendall(POST + b"Content-Length: 999999\r\nExpect: 100-continue\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    ("sent", "waits_for"),
    [
        (b"P", b"head"),
        (POST, b"head"),
        (POST + LENGTH + b"\r\n" + BODY[:50], b"body"),
        (CHUNKED + b"ff\r\nab", b"body"),
    ],
)
def test_a_slow_client_is_told_and_cut_off(hasty: Server, sent: bytes, waits_for: bytes) -> None:
    with connect(hasty) as connection:
        connection.sendall(sent)
        start = time.monotonic()
        for _ in range(8):  # a byte now and then wins no time
            time.sleep(0.3)
            with contextlib.suppress(OSError):
                connection.sendall(b"a" if waits_for == b"body" else b"")
        received = until_closed(connection)
        assert time.monotonic() - start < 20
    assert received.startswith(b"HTTP/1.1 408")
    assert waits_for in received


def test_an_idle_connection_is_closed_without_a_word(hasty: Server) -> None:
    with connect(hasty) as connection:
        connection.sendall(GET)
        assert answers(connection.recv(4096)) == [200]
        assert until_closed(connection, 20) == b""


def test_a_client_that_does_not_read_is_cut_off_and_costs_no_memory(hasty: Server) -> None:
    before = hasty.worker_memory()
    with connect(hasty) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(0.5)
        ask = b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n" * 200
        start = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() - start < 20:
                with contextlib.suppress(TimeoutError):
                    connection.send(ask)
        assert time.monotonic() - start < 20  # reset before that
    assert hasty.worker_memory() - before < 8e6
    assert hasty.get("/livez")[0] == 200


def test_a_flood_of_slow_connections_leaves_room_for_who_asks(hasty: Server) -> None:
    with contextlib.ExitStack() as flood:
        for _ in range(60):
            connection = flood.enter_context(connect(hasty))
            connection.sendall(b"GET /livez HTTP/1.1\r\n")
        time.sleep(0.1)
        with connect(hasty) as connection:
            connection.sendall(GET)
            status = answers(connection.recv(4096))
        assert status in ([200], [503])
        # those that began a head and did not end it are sent away
        wait_for(lambda: answered(hasty))


def test_idle_connections_make_room_for_new_ones(hasty: Server) -> None:
    with contextlib.ExitStack() as idle:
        for _ in range(60):
            connection = idle.enter_context(connect(hasty))
            connection.sendall(GET)
            assert answers(connection.recv(4096)) == [200]


def test_single_rows_are_answered_while_a_large_batch_is(
    bundles: dict[str, Trained],
) -> None:
    with serving(bundles["multiclass"].bundle.path) as server:
        row = bundles["multiclass"].bundle.golden[0].row
        big = json.dumps([row] * 20_000).encode()
        done: list[float] = []

        def ask() -> None:
            server.predict(big)
            done.append(time.monotonic())

        batch = threading.Thread(target=ask)
        batch.start()
        time.sleep(0.1)
        answered = []
        while not done:
            assert server.predict(row)[0] == 200
            answered.append(time.monotonic())
        batch.join()
    assert sum(moment < done[0] for moment in answered) >= 5


def test_a_worker_that_is_killed_or_hangs_is_replaced(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    (tmp_path / "roadworthy.toml").write_text("[serve]\nhang_seconds = 2\n")
    with serving(bundles["binary"].bundle.path, "--workers", "2", cwd=tmp_path) as server:
        for number in (signal.SIGKILL, signal.SIGSTOP):
            before = workers(server)
            os.kill(before[0], number)
            wait_for(lambda gone=before[0]: gone not in workers(server))
            wait_for(lambda: len(workers(server)) == 2)
            for _ in range(20):
                status, answer = server.predict(ROW)
                assert (status, answer["prediction"]) == (200, "<=50K")
        assert [line for line in server.log if "replaced" in line]


def test_a_killed_worker_costs_no_more_than_the_requests_it_had(
    bundles: dict[str, Trained],
) -> None:
    clients, failures, answered = 6, [], []
    with serving(bundles["binary"].bundle.path, "--workers", "2") as server:
        stop = threading.Event()

        def ask() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
            while not stop.is_set():
                try:
                    connection.request("POST", "/predict", BODY, {"Content-Type": JSON})
                    answered.append(json.loads(connection.getresponse().read())["prediction"])
                except (OSError, http.client.HTTPException, ValueError) as error:
                    failures.append(error)
                    connection.close()

        threads = [threading.Thread(target=ask) for _ in range(clients)]
        for thread in threads:
            thread.start()
        kills = 3
        for _ in range(kills):
            time.sleep(0.5)
            os.kill(workers(server)[0], signal.SIGKILL)
            wait_for(lambda: len(workers(server)) == 2)
        time.sleep(0.5)
        stop.set()
        for thread in threads:
            thread.join()
    assert set(answered) == {"<=50K"}
    assert len(failures) <= kills * clients


def test_workers_end_when_their_supervisor_is_killed(bundles: dict[str, Trained]) -> None:
    server = Server(bundles["binary"].bundle.path, "--workers", "2")
    pids = workers(server)
    server.process.kill()
    server.process.wait()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def workers(server: Server) -> list[int]:
    pid = server.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def answered(server: Server) -> bool:
    try:
        return server.predict(ROW)[0] == 200
    except OSError:  # it was full, and hung up
        return False


def wait_for(condition, seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    data=st.data(),
    base=st.sampled_from([GET, POST + LENGTH + b"\r\n" + BODY, CHUNKED + b"2\r\n{}\r\n0\r\n\r\n"]),
)
def test_no_bytes_at_all_end_in_a_server_error_or_a_hang(
    hasty: Server, data: st.DataObject, base: bytes
) -> None:
    sent = bytearray(base)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, min(len(sent), 200)))
        sent[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    with connect(hasty) as connection:
        connection.sendall(bytes(sent))
        connection.shutdown(socket.SHUT_WR)
        received = until_closed(connection, 5)
    assert all(status < 500 for status in answers(received))


@given(
    parts=st.lists(st.binary(min_size=1, max_size=40), max_size=6),
    cuts=st.lists(st.integers(0, 300)),
)
def test_a_chunked_body_is_the_same_however_it_is_cut(parts: list[bytes], cuts: list[int]) -> None:
    coded = b"".join(b"%X\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\nrest"
    places = sorted({min(cut, len(coded)) for cut in cuts} | {0, len(coded)})
    body = ChunkedBody(1000)
    rest = b""
    for start, end in itertools.pairwise(places):
        if body.complete:
            rest += coded[start:end]
        else:
            body.feed(coded[start:end])
            rest = body.rest
    assert (body.complete, body.content, rest) == (True, b"".join(parts), b"rest")


@given(st.binary(max_size=80))
def test_any_bytes_are_a_chunked_body_or_refused(content: bytes) -> None:
    body = ChunkedBody(50)
    with contextlib.suppress(RequestProblem):
        body.feed(content)
    assert len(body.content) <= 50


def test_many_small_chunks_are_read_without_copying_what_is_behind_each() -> None:
    class Counted(bytes):
        """Counts the bytes that are cut out of it."""

        copied = 0

        def __radd__(self, held: bytes) -> Counted:
            return self

        def __getitem__(self, place: Any) -> Any:
            found = bytes.__getitem__(self, place)
            Counted.copied += len(found) if isinstance(found, bytes) else 1
            return Counted(found) if len(found) > 100 else found

        def partition(self, mark: Any) -> Any:
            before, ended, after = bytes.partition(self, mark)
            Counted.copied += len(before) + len(after)
            return Counted(before), ended, Counted(after)

    coded = b"1\r\nx\r\n" * 2000 + b"0\r\n\r\nrest"
    body = ChunkedBody(10_000)
    body.feed(Counted(coded))
    assert (body.content, body.rest) == (b"x" * 2000, b"rest")
    assert Counted.copied <= len(coded)


def test_more_large_requests_than_allowed_are_turned_away_at_once(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    (tmp_path / "roadworthy.toml").write_text("[serve]\nmax_in_flight = 1\n")
    row = bundles["multiclass"].bundle.golden[0].row
    body = json.dumps([row] * 15_000).encode()
    found: list[tuple[int, dict[str, str], bytes]] = []
    with serving(bundles["multiclass"].bundle.path, cwd=tmp_path) as server:
        threads = [
            threading.Thread(
                target=lambda: found.append(
                    server.request("POST", "/predict", body, Content_Type=JSON)
                )
            )
            for _ in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert server.predict(row)[0] == 200
    statuses = [status for status, _, _ in found]
    assert set(statuses) == {200, 503}
    assert {headers.get("retry-after") for status, headers, _ in found if status == 503} == {"1"}
