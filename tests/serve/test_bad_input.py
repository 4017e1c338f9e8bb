"""What a hostile or clumsy client sends: a clear 4xx each, and the server goes on as before."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import time
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Server, Trained

ROW: dict = {
    "age": 39, "workclass": "State-gov", "fnlwgt": 77516, "education": "Bachelors",
    "education-num": 13, "marital-status": "Never-married", "occupation": "Adm-clerical",
    "relationship": "Not-in-family", "race": "White", "sex": "Male", "capital-gain": 2174,
    "capital-loss": 0, "hours-per-week": 40, "native-country": "United-States",
}  # fmt: skip
TEXT = json.dumps(ROW)


def cell(column: str, raw: str) -> bytes:
    """The row's JSON with one cell written as given."""
    return TEXT.replace(f'"{column}": {json.dumps(ROW[column])}', f'"{column}": {raw}').encode()


def without(column: str) -> bytes:
    return json.dumps({name: value for name, value in ROW.items() if name != column}).encode()


BODIES: dict[str, tuple[bytes, int, str]] = {
    "empty": (b"", 400, "empty"),
    "blank": (b"  \n ", 400, "empty"),
    "not json": (b"age=39", 400, "JSON"),
    "truncated": (TEXT[:60].encode(), 400, "JSON"),
    "garbage behind": (TEXT.encode() + b"}", 400, "JSON"),
    "two documents": (TEXT.encode() * 2, 400, "JSON"),
    "comment": (b"/* x */" + TEXT.encode(), 400, "JSON"),
    "single quotes": (TEXT.replace('"', "'").encode(), 400, "JSON"),
    "trailing comma": (TEXT[:-1].encode() + b",}", 400, "JSON"),
    "null": (b"null", 422, "object"),
    "number": (b"42", 422, "object"),
    "text": (b'"row"', 422, "object"),
    "true": (b"true", 422, "object"),
    "no rows": (b"[]", 422, "no rows"),
    "rows of numbers": (b"[1, 2]", 422, "object"),
    "rows of lists": (b"[[39, 1]]", 422, "object"),
    "a null among rows": (f"[{TEXT}, null]".encode(), 422, "object"),
    "no columns": (b"{}", 422, "absent"),
    "rows under a name": (f'{{"rows": [{TEXT}]}}'.encode(), 422, "'rows' is no column: send"),
    "a row under a name": (f'{{"data": {TEXT}}}'.encode(), 422, "'data' is no column: send"),
    "another shape": (f'{{"instances": [{TEXT}]}}'.encode(), 422, "or all of it to /invocations"),
    "columns of different lengths": (b'{"age": [1, 2], "sex": ["Male"]}', 422, "lengths"),
    "columns without rows": (b'{"age": [], "sex": []}', 422, "no rows"),
    "NaN": (cell("age", "NaN"), 400, "NaN is not JSON (byte 8): send null for a blank"),
    "Infinity": (cell("age", "Infinity"), 400, "Infinity is not JSON (byte 8)"),
    "minus Infinity": (cell("age", "-Infinity"), 400, "JSON"),
    "1e999": (cell("age", "1e999"), 422, "column 'age': is a number beyond the range"),
    "1e999 among rows": (
        f"[{TEXT}, {cell('age', '1e999').decode()}]".encode(), 422,
        "row 1, column 'age': is a number beyond the range",
    ),
    "a 400-digit integer": (cell("age", "9" * 400), 422, "number"),
    "a 5,000-digit integer": (cell("age", "9" * 5000), 422, "number"),
    "leading zero": (cell("age", "039"), 400, "JSON"),
    "hexadecimal": (cell("age", "0x27"), 400, "JSON"),
    "plus sign": (cell("age", "+39"), 400, "JSON"),
    "text for a number": (cell("age", '"old"'), 422, "expected a number"),
    "a number as text": (cell("age", '"39"'), 422, "expected a number"),
    "true for a number": (cell("age", "true"), 422, "expected a number"),
    "a list for a number": (cell("age", "[39]"), 422, "expected a number"),
    "an object for a number": (cell("age", '{"value": 39}'), 422, "expected a number"),
    "a number for a level": (cell("sex", "1"), 422, "expected text"),
    "true for a level": (cell("sex", "true"), 422, "expected text"),
    "a list for a level": (cell("sex", '["Male"]'), 422, "expected text"),
    "NUL in a text": (cell("sex", '"Ma\\u0000le"'), 422, "NUL"),
    "lone surrogate": (cell("sex", '"\\ud800"'), 400, "JSON"),
    "bad escape": (cell("sex", '"\\x41"'), 400, "JSON"),
    "raw control character": (cell("sex", '"Ma\nle"'), 400, "JSON"),
    "invalid UTF-8": (TEXT.encode().replace(b"White", b"Wh\xff\xfe"), 400, ""),
    "UTF-16": (TEXT.encode("utf-16"), 400, "byte order mark"),
    "UTF-16 without a mark": (TEXT.encode("utf-16-le"), 400, ""),
    "byte order mark": (b"\xef\xbb\xbf" + TEXT.encode(), 400, "byte order mark"),
    "a column twice": (TEXT[:-1].encode() + b', "age": 40}', 400, "'age': stands twice"),
    "a column twice, escaped": (TEXT[:-1].encode() + b', "\\u0061ge": 40}', 400, "twice"),
    "a column twice among rows": (f'[{TEXT}, {TEXT[:-1]}, "sex": null}}]'.encode(), 400, "twice"),
    "an unused column twice": (TEXT[:-1].encode() + b', "income": 1, "income": 2}', 400, "twice"),
    "nested lists": (b"[" * 100_000, 400, ""),
    "nested and closed": (b"[" * 50_000 + b"]" * 50_000, 400, "deep"),
    "nested objects": (b'{"a":' * 100_000, 400, ""),
    "a deep cell": (cell("age", "[" * 20_000 + "]" * 20_000), 400, "deep"),
    "a deep unused cell": (
        TEXT[:-1].encode() + b', "income": ' + b"[" * 20_000 + b"]" * 20_000 + b"}", 400, "deep",
    ),
    "too many rows": (b"[" + b",".join([b"{}"] * 20_001) + b"]", 413, "rows"),
    **{f"without {name}": (without(name), 422, "absent") for name in ROW},
    **{f"{name} misspelt": (TEXT.replace(f'"{name}"', f'"{name}_"').encode(), 422, "absent")
       for name in ("age", "sex")},
}  # fmt: skip


def check_problem(status: int, headers: dict[str, str], content: bytes, expected: int) -> dict:
    assert status == expected, content[:300]
    assert headers["content-type"] == "application/problem+json"
    problem = json.loads(content)
    assert problem["status"] == expected
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == headers["x-request-id"]
    assert "Traceback" not in content.decode()
    assert len(content) < 10_000
    return problem


@pytest.fixture(autouse=True)
def goes_on_as_before(server: Server):
    yield
    status, answer = server.predict(ROW)
    assert status == 200
    assert answer["prediction"] == "<=50K"
    assert not [line for line in server.log if "State-gov" in line and "curl" not in line]
    assert "Traceback" not in "".join(server.log)


@pytest.mark.parametrize("name", BODIES)
def test_a_bad_body_is_refused_with_its_reason(server: Server, name: str) -> None:
    body, expected, reason = BODIES[name]
    start = time.monotonic()
    answer = server.request("POST", "/predict", body, Content_Type="application/json")
    problem = check_problem(*answer, expected)
    assert reason in json.dumps(problem)
    assert time.monotonic() - start < 20
    if expected == 422 and name.startswith(("without", "text for")):
        assert problem["errors"][0]["column"] in ROW


@pytest.mark.parametrize("raw", ["9" * 6000, "1e999", "[[1], {}]", "null", '"text"'])
def test_an_unused_column_may_hold_anything(server: Server, raw: str) -> None:
    assert server.predict(TEXT[:-1].encode() + b', "income": ' + raw.encode() + b"}")[0] == 200


def test_all_problems_of_many_rows_are_placed(server: Server) -> None:
    rows = [ROW, {**ROW, "age": "x"}, {**ROW, "sex": 1, "race": 2}]
    problem = server.predict(rows)[1]
    places = [(e["row"], e["column"]) for e in problem["errors"]]
    assert sorted(places) == [(1, "age"), (2, "race"), (2, "sex")]


def test_the_callers_data_is_not_sent_back(server: Server) -> None:
    body = {**ROW, "age": "secret-age", "sex": "secret-level", "secret-column": 1}
    assert b"secret-age" not in json.dumps(server.predict(body)[1]).encode()


@pytest.mark.parametrize("media", [
    "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "",
    "application/json; charset=utf-16", "application/jsonx", "json", "text/json;application/json",
])  # fmt: skip
def test_another_content_type_is_refused(server: Server, media: str) -> None:
    answer = server.request("POST", "/predict", TEXT.encode(), Content_Type=media)
    assert "application/json" in check_problem(*answer, 415)["detail"]


@pytest.mark.parametrize("media", [
    "application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.rows+json",
    'application/json; charset="UTF-8"',
])  # fmt: skip
def test_json_by_its_other_names_is_taken(server: Server, media: str) -> None:
    assert server.request("POST", "/predict", TEXT.encode(), Content_Type=media)[0] == 200


GZIPPED = gzip.compress(TEXT.encode())
COMPRESSED: dict[str, tuple[str, bytes, int]] = {
    "brotli": ("br", TEXT.encode(), 415),
    "deflate": ("deflate", TEXT.encode(), 415),
    "an unknown coding": ("x", TEXT.encode(), 415),
    "two codings": ("gzip, gzip", gzip.compress(GZIPPED), 415),
    "plain text said to be gzip": ("gzip", TEXT.encode(), 400),
    "half of gzip": ("gzip", GZIPPED[:60], 400),
    "gzip with a wrong sum": ("gzip", GZIPPED[:-8] + b"\0" * 8, 400),
    "gzip and garbage": ("gzip", GZIPPED + b"garbage", 400),
    "empty gzip": ("gzip", b"", 400),
    "a gzip bomb": ("gzip", gzip.compress(b" " * 10_000_000), 413),
    "a larger gzip bomb": ("gzip", gzip.compress(b"[" + b"{}," * 20_000_000), 413),
    "plain text said to be zstd": ("zstd", TEXT.encode(), 400),
    "half of zstd": ("zstd", zstandard.compress(TEXT.encode())[:60], 400),
    "zstd that breaks off behind a whole block": (
        "zstd",
        zstandard.compress(TEXT.encode() + b" " * 900_000)[:-4],
        400,
    ),
    "more gzip members than anyone needs": ("gzip", gzip.compress(b"") * 1500 + GZIPPED, 400),
    "more zstd frames than anyone needs": (
        "zstd",
        zstandard.compress(b"") * 1500 + zstandard.compress(TEXT.encode()),
        400,
    ),
    "a zstd bomb": ("zstd", zstandard.compress(b" " * 100_000_000), 413),
}


@pytest.mark.parametrize("name", COMPRESSED)
def test_a_badly_compressed_body_is_refused(server: Server, name: str) -> None:
    coding, body, expected = COMPRESSED[name]
    answer = server.request(
        "POST", "/predict", body, Content_Type="application/json", Content_Encoding=coding
    )
    check_problem(*answer, expected)


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", GZIPPED),
        ("GZIP", gzip.compress(TEXT[:50].encode()) + gzip.compress(TEXT[50:].encode())),
        ("zstd", zstandard.compress(TEXT.encode())),
        ("zstd", zstandard.compress(TEXT[:50].encode()) + zstandard.compress(TEXT[50:].encode())),
        ("identity", TEXT.encode()),
    ],
)
def test_compressed_bodies_are_taken(server: Server, coding: str, body: bytes) -> None:
    answer = server.request(
        "POST", "/predict", body, Content_Type="application/json", Content_Encoding=coding
    )
    assert answer[0] == 200


def test_a_body_over_the_limit_is_refused_before_it_is_read(server: Server) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(head + b"Content-Length: 999999999999\r\n\r\n{")
        assert connection.recv(4096).startswith(b"HTTP/1.1 413")
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
        received = b""
        try:
            for _ in range(40):
                connection.sendall(chunk)
            received = connection.recv(4096)
        except OSError:
            received = received or b"HTTP/1.1 413"  # closed on us while we were still sending
        assert received.startswith(b"HTTP/1.1 413")


def test_a_chunked_body_is_read(server: Server) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    parts = [TEXT[:40].encode(), TEXT[40:].encode()]
    body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    answer = server.raw(head + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + body)
    assert answer.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/predict", 405), ("PUT", "/predict", 405), ("DELETE", "/predict", 405),
        ("PATCH", "/predict", 405), ("OPTIONS", "/predict", 405), ("POST", "/metrics", 405),
        ("POST", "/livez", 405), ("GET", "/nothing", 404), ("GET", "/predict/", 404),
        ("POST", "/Predict", 404), ("GET", "/../../etc/passwd", 404), ("GET", "/%2e%2e/x", 404),
        ("GET", "//docs", 404), ("GET", "/docs/../manifest.json", 404), ("GET", "/a" * 2000, 404),
    ],
)  # fmt: skip
def test_other_methods_and_addresses(server: Server, method: str, path: str, expected: int) -> None:
    answer = server.request(method, path, TEXT.encode(), Content_Type="application/json")
    check_problem(*answer, expected)
    if expected == 405:
        assert answer[1]["allow"] in ("POST", "GET, HEAD")


HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(TEXT)
RAW: dict[str, bytes] = {
    "negative length": HEAD + b"Content-Length: -5\r\n\r\n" + TEXT.encode(),
    "length of words": HEAD + b"Content-Length: ten\r\n\r\n" + TEXT.encode(),
    "two lengths": HEAD + LENGTH + b"Content-Length: 7\r\n\r\n" + TEXT.encode(),
    "bad chunk size": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + TEXT.encode(),
    "space before a colon": HEAD + b"X-Thing : 1\r\n" + LENGTH + b"\r\n" + TEXT.encode(),
    "a line break in a header": HEAD + b"X-Request-ID: a\rb\r\n" + LENGTH + b"\r\n" + TEXT.encode(),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
    "HTTP/9.9": HEAD.replace(b"1.1", b"9.9") + LENGTH + b"\r\n" + TEXT.encode(),
    "a huge header": HEAD + b"X-Thing: " + b"a" * 1_000_000 + b"\r\n\r\n",
    "thousands of headers": HEAD + b"".join(b"X-%d: 1\r\n" % i for i in range(5000)) + b"\r\n",
    "no request line": b"\x00\x01\x02\r\n\r\n",
    "chunks by HTTP/1.0": HEAD.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n",
}  # fmt: skip
REASONS = {
    "length of words": b"Invalid character in Content-Length",
    "two lengths": b"Content-Length",
    "TLS": b"its first line is not METHOD /ADDRESS HTTP/1.1",
    "chunks by HTTP/1.0": b"HTTP/1.0 has no Transfer-Encoding",
}


@pytest.mark.parametrize("name", RAW)
def test_broken_http_is_refused_or_cut_off(server: Server, name: str) -> None:
    answer = server.raw(RAW[name])
    assert not answer or answer.startswith(b"HTTP/1.1 4"), answer[:200]
    assert REASONS.get(name, b"") in answer


def test_length_and_chunks_together_smuggle_nothing(server: Server) -> None:
    smuggled = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = server.raw(
        HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n" + smuggled
    )
    assert answer.count(b"HTTP/1.1 ") <= 2
    assert b"HTTP/1.1 200" not in answer


def test_a_client_that_goes_away_in_the_middle_is_no_error(server: Server) -> None:
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(HEAD + LENGTH + b"\r\n" + TEXT[:50].encode())
    time.sleep(0.2)
    assert server.predict(ROW)[0] == 200


def test_slow_headers_are_cut_off(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\n")
        start = time.monotonic()
        connection.settimeout(15)
        assert not connection.recv(4096).startswith(b"HTTP/1.1 2")
        assert time.monotonic() - start < 15


def test_a_tls_client_is_refused(server: Server) -> None:
    context = ssl.create_default_context()
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=5) as plain,
        pytest.raises((ssl.SSLError, OSError)),
    ):
        context.wrap_socket(plain, server_hostname="localhost")


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.binary(max_size=200)
    | st.builds(lambda cut, byte: TEXT.encode()[:cut] + byte + TEXT.encode()[cut + 1 :],
                st.integers(0, len(TEXT)), st.binary(max_size=3))
)  # fmt: skip
def test_no_body_ends_in_a_server_error(server: Server, body: bytes) -> None:
    status, headers, content = server.request(
        "POST", "/predict", body, Content_Type="application/json"
    )
    assert status in (200, 400, 422)
    if status != 200:
        check_problem(status, headers, content, status)


def test_memory_stays_where_it_is(server: Server, bundles: dict[str, Trained]) -> None:
    def storm(ask: Callable[[bytes], object]) -> None:
        for body, _, _ in BODIES.values():
            ask(body)

    def ask(body: bytes) -> None:
        server.request("POST", "/predict", body, Content_Type="application/json")

    for _ in range(3):
        storm(ask)
    before = server.worker_memory()
    for _ in range(12):
        storm(ask)
    assert server.worker_memory() - before < 12e6


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    repeated=st.sampled_from(sorted(ROW)),
    blank=st.sets(st.sampled_from(sorted(ROW)), max_size=6),
    extra=st.sampled_from(["", "income", "stranger"]),
    shape=st.sampled_from(["one", "many"]),
)
def test_no_repeated_key_slips_through(
    server: Server, repeated: str, blank: set[str], extra: str, shape: str
) -> None:
    row = {name: None if name in blank else cell for name, cell in ROW.items()}
    if extra:
        row[extra] = 1
    text = json.dumps(row)[:-1] + f", {json.dumps(repeated)}: {json.dumps(ROW[repeated])}}}"
    body = text if shape == "one" else f"[{json.dumps(row)}, {text}]"
    status, problem = server.predict(body.encode())
    assert status == 400
    assert "twice" in problem["detail"]


def test_no_repeated_key_slips_through_in_columns(server: Server) -> None:
    columns = {name: [cell, cell] for name, cell in ROW.items()}
    text = json.dumps(columns)[:-1]
    for first in ROW:
        body = f"{text}, {json.dumps(first)}: [null, null]}}"
        assert server.predict(body.encode())[0] == 400


def test_an_answer_is_not_many_times_the_request(server: Server) -> None:
    strange = {f"k{i}": 1 for i in range(60)}
    body = json.dumps([{**ROW, **strange, "age": None}] * 3000).encode()
    status, _, content = server.request("POST", "/predict", body, Content_Type="application/json")
    assert status == 200
    assert len(content) < len(body)
    assert len(json.loads(content)["warnings"]) <= 1000
