"""Many, slow and hostile clients: each gets its share, nothing breaks, others are answered."""

from __future__ import annotations

import contextlib
import hashlib
import json
import resource
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roadworthy.serve.callers import AddressRates, TrustedProxies
from roadworthy.serve.messages import Head, Request
from roadworthy.serve.problems import RequestProblem
from tests.conftest import Server, Trained, serving
from tests.serve.test_bad_input import ROW, TEXT
from tests.serve.test_dialects import tensors
from tests.serve.test_http import (
    CHUNKED,
    GET,
    JSON,
    REFUSED,
    answers,
    connect,
    until_closed,
    workers,
)

IDLE = 10_000


def asked(client: str, forwarded: str) -> Request:
    headers = {"x-forwarded-for": forwarded} if forwarded else {}
    return Request(Head("GET", "/", "", headers, 0, True, None), b"", client, "id")


@pytest.mark.parametrize(
    ("client", "forwarded", "found"),
    [
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "1.1.1.1, 203.0.113.9", "203.0.113.9"),  # the first one is made up
        ("10.0.0.1", "203.0.113.9, 10.0.0.7", "203.0.113.9"),  # two proxies of ours
        ("10.0.0.1", "10.0.0.8, 10.0.0.7", "10.0.0.8"),
        ("10.0.0.1", "2001:db8::1", "2001:db8::1"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9, ", "10.0.0.1"),
        ("203.0.113.5", "1.1.1.1", "203.0.113.5"),  # who is no proxy of ours may claim anything
        ("", "1.1.1.1", ""),
    ],
)
def test_only_what_a_trusted_proxy_wrote_is_believed(
    client: str, forwarded: str, found: str
) -> None:
    assert TrustedProxies(["10.0.0.0/8"]).client(asked(client, forwarded)) == found
    assert TrustedProxies([]).client(asked(client, forwarded)) == client


@pytest.mark.parametrize(
    ("header", "found", "secure"),
    [
        ("for=203.0.113.9", "203.0.113.9", False),
        ("For=203.0.113.9:8080;Proto=https;by=10.0.0.1", "203.0.113.9", True),
        ('for="[2001:db8::1]:47011";proto=https', "2001:db8::1", True),
        ('proto=https; for="[2001:db8::1]"', "2001:db8::1", True),
        ("for=1.1.1.1;proto=https, for=203.0.113.9;proto=http", "203.0.113.9", False),
        ("for=203.0.113.9;proto=https,for=10.0.0.7;proto=http", "203.0.113.9", True),
        ("for=1.1.1.1, for=unknown", "10.0.0.1", False),
        ("for=1.1.1.1, for=_hidden, for=10.0.0.7", "10.0.0.7", False),
        ('for=1.1.1.1, for="a, for=203.0.113.9', "203.0.113.9", False),  # it never ends
        ("for=1.1.1.1;for=203.0.113.9", "10.0.0.1", False),  # two in one element
        ('for="\\[2001:db8::1]"', "10.0.0.1", False),
        ("203.0.113.9", "10.0.0.1", False),
        ("", "10.0.0.1", False),
    ],
)
def test_forwarded_is_read_where_the_proxies_write_it(
    header: str, found: str, secure: bool
) -> None:
    request = asked("10.0.0.1", "198.51.100.1")  # what the other header says is the client's own
    request.head.headers |= {"forwarded": header, "x-forwarded-proto": "https"}
    proxies = TrustedProxies(["10.0.0.0/8"], "forwarded")
    assert (proxies.client(request), proxies.is_secure(request)) == (found, secure)
    assert TrustedProxies(["10.0.0.0/8"]).client(request) == "198.51.100.1"
    request.client = "203.0.113.5"
    assert (proxies.client(request), proxies.is_secure(request)) == ("203.0.113.5", False)


def test_rates_are_an_addresss_own_and_a_networks_in_ipv6() -> None:
    rates = AddressRates(0.001, 1)
    for address in ("203.0.113.1", "203.0.113.2", "2001:db8::1", "2001:db8:0:1::1", "", "no one"):
        rates.check(address)
    for address in ("203.0.113.1", "::ffff:203.0.113.2", "2001:db8::ffff", "no one"):
        with pytest.raises(RequestProblem) as refused:
            rates.check(address)
        assert refused.value.status == 429
    for number in range(10_001):  # whoever asked longest ago is forgotten
        rates.check(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    rates.check("203.0.113.1")


@given(client=st.ip_addresses().map(str), forwarded=st.text(max_size=60))
def test_any_header_names_an_address_or_leaves_the_proxys(client: str, forwarded: str) -> None:
    for networks in (["0.0.0.0/0", "::/0"], ["10.0.0.0/8"]):
        found = TrustedProxies(networks).client(asked(client, forwarded))
        assert found == client or found in forwarded
        request = asked(client, "")
        request.head.headers["forwarded"] = f"for={forwarded}"
        found = TrustedProxies(networks, "forwarded").client(request)
        assert found == client or found in forwarded


def together(server: Server, bodies: list[tuple[bytes, dict[str, str]]]) -> list[int]:
    """Send requests at once; the statuses, in their order."""
    found: list[int] = [0] * len(bodies)

    def ask(place: int) -> None:
        body, headers = bodies[place]
        found[place] = server.request("POST", "/predict", body, Content_Type=JSON, **headers)[0]

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(len(bodies))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_one_client_behind_a_proxy_cannot_take_the_others_share(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    (tmp_path / "roadworthy.toml").write_text(
        "[serve]\nmax_in_flight_client = 1\ntrusted_proxies = ['127.0.0.0/8']\n"
    )
    row = bundles["multiclass"].bundle.golden[0].row
    body = json.dumps([row] * 10_000).encode()
    greedy, modest = ({"X_Forwarded_For": ip} for ip in ("203.0.113.1", "203.0.113.2"))
    with serving(bundles["multiclass"].bundle.path, cwd=tmp_path) as server:
        found = together(server, [(body, greedy)] * 5 + [(body, modest)])
        assert set(found[:5]) == {200, 429}
        assert found[5] == 200
        assert server.request("POST", "/predict", body, Content_Type=JSON, **greedy)[0] == 200


def test_a_key_has_so_many_large_requests_at_once(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    entries = [
        {"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), "in_flight": most}
        for name, most in (("small", 1), ("large", 20))
    ]
    (tmp_path / "keys.json").write_text(json.dumps(entries))
    (tmp_path / "roadworthy.toml").write_text("[serve]\nkeys = 'keys.json'\n")
    row = bundles["multiclass"].bundle.golden[0].row
    body = json.dumps([row] * 10_000).encode()
    with serving(bundles["multiclass"].bundle.path, cwd=tmp_path) as server:
        found = together(
            server, [(body, {"X_API_Key": name}) for name in ["small"] * 4 + ["large"] * 4]
        )
        assert set(found[:4]) == {200, 429}
        assert found[4:] == [200] * 4


@pytest.fixture(scope="module")
def crowded(
    bundles: dict[str, Trained], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("crowded")
    (folder / "roadworthy.toml").write_text(
        "[serve]\nheader_seconds = 20\nbody_seconds = 20\nmax_connections = 12000\n"
        "max_connections_client = 11000\n"
    )
    with serving(bundles["binary"].bundle.path, cwd=folder) as running:
        yield running


def test_ten_thousand_slow_connections_do_not_keep_others_waiting(crowded: Server) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(IDLE, hard - 500)
    begun = [b"", GET[:20], CHUNKED + b"5\r\nab", GET]  # idle, half a head, half a body, kept open
    before = crowded.worker_memory()
    try:
        with contextlib.ExitStack() as open_ones:
            for number in range(count):
                connection = open_ones.enter_context(socket.socket())
                connection.settimeout(30)
                connection.connect(("127.0.0.1", crowded.port))
                connection.sendall(begun[number % len(begun)])
                if number % 500 == 0:
                    assert crowded.predict(ROW)[0] == 200
            assert len(list(Path(f"/proc/{workers(crowded)[0]}/fd").iterdir())) > count
            assert crowded.predict([ROW] * 1000)[0] == 200
            assert crowded.worker_memory() - before < 25_000 * count
        assert crowded.predict(ROW)[0] == 200
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_one_address_may_open_so_many_connections(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    (tmp_path / "roadworthy.toml").write_text("[serve]\nmax_connections_client = 3\n")
    with serving(bundles["binary"].bundle.path, cwd=tmp_path) as server:
        time.sleep(0.2)
        with contextlib.ExitStack() as stack:
            kept = [stack.enter_context(connect(server)) for _ in range(3)]
            for connection in kept:
                connection.sendall(GET)
                assert answers(connection.recv(4096)) == [200]
            with connect(server) as one_more:
                refused = until_closed(one_more)
            assert answers(refused) == [503]
            assert b"retry-after: 1" in refused
        deadline = time.monotonic() + 30
        while server.get("/livez")[0] != 200:
            assert time.monotonic() < deadline


SEEDS = [
    GET,
    b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(TEXT), TEXT.encode()),
    *(
        b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b"
        % (path, media, len(body), body)
        for path, media, body in [
            (b"/predict", b"application/json", TEXT.encode()),
            (b"/predict", b"text/csv", b"age,workclass\n1,2\n"),
            (b"/predict", b"application/x-ndjson", TEXT.encode() + b"\n" + TEXT.encode()),
            (b"/predict", b"application/vnd.apache.arrow.stream", b"\xff\xff\xff\xff\x10\0\0\0"),
            (b"/predict", b"application/vnd.apache.parquet", b"PAR1" + b"\0" * 20 + b"PAR1"),
            (b"/invocations", b"application/json", b'{"inputs":[%b]}' % TEXT.encode()),
            (b"/v1/models/adult:predict", b"application/json", b'{"instances":[{}]}'),
            (
                b"/v2/models/adult/infer",
                b"application/json",
                json.dumps({"inputs": tensors([ROW])}).encode(),
            ),
            (b"/score", b"application/json", b'{"data":[%b]}' % TEXT.encode()),
        ]
    ),
    *REFUSED.values(),
]


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    pieces=st.lists(
        st.tuples(st.sampled_from(SEEDS), st.integers(0, 4000), st.integers(0, 4000)),
        min_size=1,
        max_size=5,
    ),
    noise=st.lists(st.tuples(st.integers(0, 4000), st.binary(max_size=4)), max_size=4),
)
def test_requests_cut_and_spliced_anyhow_break_nothing_and_nobody_else(
    crowded: Server, pieces: list[tuple[bytes, int, int]], noise: list[tuple[int, bytes]]
) -> None:
    sent = bytearray()
    for seed, start, length in pieces:
        begin = start % (len(seed) + 1) if start % 3 == 0 else 0
        sent += seed[begin : begin + length] if length % 3 == 0 else seed[begin:]
    for place, content in noise:
        at = place % (len(sent) + 1)
        sent[at : at + len(content)] = content
    running = workers(crowded)
    with connect(crowded) as other, connect(crowded) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(bytes(sent))
        other.sendall(GET)  # while that one may still be at work
        assert answers(other.recv(4096)) == [200]
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
        received = until_closed(connection, 10)
    assert all(status < 500 for status in answers(received)), received[:300]
    assert workers(crowded) == running
    assert "Traceback" not in "".join(crowded.log)
