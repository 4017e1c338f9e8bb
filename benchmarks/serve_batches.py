"""A thousand rows a request, in every format, beside the plain way with the same rows.

python -m benchmarks.serve_batches [--rounds 15]
"""

from __future__ import annotations

import argparse
import csv
import http.client
import io
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.model import make_bundle, whole_rows
from benchmarks.serve_one_row import FLOOR, start

ROWS = 1000
JSON = "application/json"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    here = Path(__file__).parent
    with tempfile.TemporaryDirectory() as folder:
        for family in FLOOR:
            bundle = make_bundle(Path(folder), family)
            some = whole_rows(bundle)
            rows = (some * (ROWS // len(some) + 1))[:ROWS]
            row = json.dumps(rows[0]).encode()
            servers = {
                "ours": start(["-m", "roadworthy", "serve", bundle.path, "--quiet", "--port"], row),
                "plain way": start([here / "plain_app.py", bundle.path], row),
            }
            try:
                compare(family, {n: s.port for n, s in servers.items()}, rows, options.rounds)
            finally:
                for server in servers.values():
                    server.process.terminate()
                    server.process.wait(40)


def compare(family: str, ports: dict[str, int], rows: list[dict[str, Any]], rounds: int) -> None:
    asked = bodies(rows)
    cases = [("ours", name) for name in asked] + [("plain way", "JSON rows")]
    taken: dict[tuple[str, str], list[float]] = {case: [] for case in cases}
    for _ in range(rounds):
        for server, name in cases:
            media, body = asked[name]
            path = "/predict" if server == "ours" else "/predict_many"
            taken[server, name].append(ask(ports[server], path, media, body))
    plain = statistics.median(taken["plain way", "JSON rows"])
    print(f"\n{family}: {ROWS} rows a request, one core")
    for (server, name), seconds in taken.items():
        middle = statistics.median(seconds)
        print(
            f"{server:<10}{name:<14}{1000 * middle:>8.1f} ms{ROWS / middle:>12,.0f} rows/s"
            f"{plain / middle:>8.1f} x the plain way"
        )


def bodies(rows: list[dict[str, Any]]) -> dict[str, tuple[str, bytes]]:
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns))
    writer.writeheader()
    writer.writerows(rows)
    table, stream = pa.table(columns), io.BytesIO()
    with pa.ipc.new_stream(stream, table.schema) as out:
        out.write_table(table)
    return {
        "JSON rows": (JSON, json.dumps(rows).encode()),
        "JSON columns": (JSON, json.dumps(columns).encode()),
        "JSON lines": ("application/x-ndjson", "\n".join(map(json.dumps, rows)).encode()),
        "CSV": ("text/csv", text.getvalue().encode()),
        "Arrow": ("application/vnd.apache.arrow.stream", stream.getvalue()),
    }


def ask(port: int, path: str, media: str, body: bytes) -> float:
    """Seconds of one request on a new connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.connect()
    began = time.perf_counter()
    connection.request("POST", path, body, {"Content-Type": media})
    answer = connection.getresponse()
    content = answer.read()
    taken = time.perf_counter() - began
    connection.close()
    if answer.status != 200:
        raise SystemExit(f"{media}: {content[:300]!r}")
    return taken


if __name__ == "__main__":
    main()
