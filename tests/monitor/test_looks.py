"""What our own notices know by a look at the server and at this machine."""

from __future__ import annotations

import http.server
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.errors import InputError
from roadworthy.monitor.alarms.looks import (
    Look,
    Machine,
    _remembered,
    look,
    quantile,
    read_machine,
    service_findings,
)
from roadworthy.monitor.alarms.notices import Notice, tell
from roadworthy.project.monitor import AlarmOptions, MonitorSection
from tests.conftest import Trained, free_port, serving
from tests.monitor.test_report import run

BUSY = {"cpu": AlarmOptions(on=False), "memory": AlarmOptions(on=False)}


class Server:
    """Answers with whatever page it holds now."""

    def __init__(self) -> None:
        self.page, self.status = "", 200
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(outer.status)
                self.end_headers()
                self.wfile.write(outer.page.encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}/metrics"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def counts(self, requests: int, failed: int = 0, slow: int = 0, lost: int = 0) -> None:
        name = "roadworthy_request_duration_seconds_bucket"
        self.page = f"""# TYPE roadworthy_requests_total counter
roadworthy_requests_total{{model="loans",route="/predict",code="200"}} {requests - failed}
roadworthy_requests_total{{model="loans",route="/predict",code="503"}} {failed}
roadworthy_requests_total{{model="",route="/livez",code="200"}} {requests + 999}
# TYPE roadworthy_log_dropped_total counter
roadworthy_log_dropped_total {lost}
# TYPE roadworthy_request_duration_seconds histogram
{name}{{model="loans",le="0.1"}} {requests - slow}
{name}{{model="loans",le="1"}} {requests}
{name}{{model="loans",le="+Inf"}} {requests}
"""


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.server.shutdown()
    made.server.server_close()


def kinds(
    server: Server, folder: Path, minute: float, address: str = "", **alarms: AlarmOptions
) -> dict[str, str]:
    options = MonitorSection(alarm_state=str(folder / "alarms.json"), alarms=BUSY | alarms)  # type: ignore[arg-type]
    found = service_findings(address or server.address, "loans", options, now=1e9 + 60 * minute)
    return {each.kind: each.severity for each in found}


def test_errors_slow_answers_and_lost_rows_ring_for_what_came_since_and_no_longer(
    server: Server, tmp_path: Path
) -> None:
    server.counts(1000, failed=900, slow=900, lost=50)
    assert kinds(server, tmp_path, 0) == {}  # what came before the first look is not known
    server.counts(1100, failed=910, slow=905, lost=51)
    assert kinds(server, tmp_path, 3) == {}  # not for five minutes yet
    server.counts(1200, failed=920, slow=910, lost=52)
    assert kinds(server, tmp_path, 6) == {"errors": "serious", "log_lost": "warning"}
    assert kinds(server, tmp_path, 10)["latency"] == "serious"
    assert kinds(server, tmp_path, 40).keys() == {"no_traffic"}
    server.counts(2000, failed=920, slow=910, lost=52)
    assert kinds(server, tmp_path, 80) == {}


def test_a_server_that_began_anew_is_counted_from_nothing(server: Server, tmp_path: Path) -> None:
    server.counts(100_000, failed=10)
    assert kinds(server, tmp_path, 0) == {}
    server.counts(100, failed=0)
    assert kinds(server, tmp_path, 5) == {}
    server.counts(200, failed=50)
    assert kinds(server, tmp_path, 10) == {"errors": "serious"}


def test_health_probes_and_scrapes_are_no_traffic(server: Server, tmp_path: Path) -> None:
    server.counts(10)
    assert kinds(server, tmp_path, 0) == {}
    server.page = server.page.replace("1009", "5000")
    assert kinds(server, tmp_path, 31) == {"no_traffic": "warning"}


def test_a_server_that_is_away_is_told_after_two_minutes_and_nothing_beside_it(
    server: Server, tmp_path: Path
) -> None:
    server.counts(10)
    assert kinds(server, tmp_path, 0) == {}
    server.status = 503
    assert kinds(server, tmp_path, 31) == {}  # once is chance
    assert kinds(server, tmp_path, 32) == {}
    assert kinds(server, tmp_path, 33) == {"down": "serious"}
    server.status = 200
    assert kinds(server, tmp_path, 34).keys() == {"no_traffic"}
    away = f"http://127.0.0.1:{free_port()}/livez"
    looks = [kinds(server, tmp_path, minute, away) for minute in (40, 42)]
    assert looks == [{}, {"down": "serious"}]


def test_livez_says_only_whether_it_answers_and_a_refused_key_is_told_of(
    server: Server, tmp_path: Path
) -> None:
    livez = server.address.replace("/metrics", "/livez")
    server.page = "{}"
    assert [kinds(server, tmp_path, minute, livez) for minute in (0, 60)] == [{}, {}]
    server.status = 401
    assert kinds(server, tmp_path, 61) == {"store": "warning"}


def test_the_list_says_from_where_and_an_alarm_that_is_off_is_not_told(
    server: Server, tmp_path: Path
) -> None:
    said = {"errors": AlarmOptions(threshold=0.5, minutes=1), "no_traffic": AlarmOptions(on=False)}
    server.counts(100)
    assert kinds(server, tmp_path, 0, **said) == {}
    server.counts(200, failed=40)
    assert kinds(server, tmp_path, 1, **said) == {}
    server.counts(300, failed=100)
    assert kinds(server, tmp_path, 2, **said) == {"errors": "serious"}
    assert kinds(server, tmp_path, 100, **said) == {}


def test_it_is_told_once_told_as_over_and_kept_over_looks(server: Server, tmp_path: Path) -> None:
    options = MonitorSection(alarm_state=str(tmp_path / "alarms.json"), alarms=BUSY)
    sent: list[Notice] = []
    server.counts(0)
    for minute, failed in ((0, 0), (5, 50), (10, 60), (15, 60), (20, 60), (25, 60), (30, 60)):
        server.counts(1000 * (1 + minute), failed=failed * 100)
        now = 1e9 + 60 * minute
        found = service_findings(server.address, "loans", options, now=now)
        tell(found, "loans", options, sends={"webhook": sent.extend}, now=now)
    assert [(each.state, each.key) for each in sent] == [
        ("open", "errors: service"), ("over", "errors: service"),
    ]  # fmt: skip
    assert sent[0].link == "docs/monitoring.md#alarm-errors"


def test_processors_and_memory_ring_when_they_stay_busy(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter([(0, 0, 0.95), (950, 1000, 0.95), (1900, 2000, 0.97), (2000, 9000, 0.1)])
    monkeypatch.setattr(
        "roadworthy.monitor.alarms.looks.read_machine", lambda: Machine(*next(ticks))
    )
    server.counts(100)
    on = {"cpu": AlarmOptions(), "memory": AlarmOptions()}
    looks = []
    for minute in (0, 10, 20, 40):
        server.counts(100 + minute)
        looks.append(kinds(server, tmp_path, minute, **on))
    assert looks == [
        {}, {"memory": "serious"}, {"memory": "serious", "cpu": "warning"}, {},
    ]  # fmt: skip


def test_this_machine_tells_how_busy_it_is_and_another_does_not(tmp_path: Path) -> None:
    here = read_machine()
    assert here is not None
    assert 0 < here.busy < here.all
    assert 0 < here.memory < 1
    assert read_machine(tmp_path) is None
    assert look(f"http://localhost:{free_port()}/metrics", "loans").machine is not None
    assert look(f"http://[::ffff:0.0.0.1]:{free_port()}/metrics", "loans").machine is None


def test_what_speaks_no_http_is_down_and_what_is_no_address_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/metrics"

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"220 mail.example.org ESMTP\r\n")

        threading.Thread(target=answer, daemon=True).start()
        assert not look(address, "loans").up
    with pytest.raises(InputError, match="no address"):
        look("http://[/metrics", "loans")


def test_a_clock_that_went_back_forgets_and_a_damaged_file_is_named(
    server: Server, tmp_path: Path
) -> None:
    server.counts(100)
    assert kinds(server, tmp_path, 60) == {}
    server.counts(200, failed=100)
    assert kinds(server, tmp_path, 0) == {}
    (tmp_path / "alarms.json.looks").write_text("[")
    with pytest.raises(InputError, match="damaged"):
        kinds(server, tmp_path, 61)


@given(st.lists(st.tuples(st.floats(0.1, 60), st.booleans()), min_size=1, max_size=1500))
def test_what_is_remembered_is_bounded_and_reaches_back_far_enough(
    steps: list[tuple[float, bool]],
) -> None:
    now, looks, seen = 1e9, list[Look](), list[Look]()
    for seconds, up in steps:
        now += seconds
        seen.append(Look(at=now, up=up))
        looks = _remembered([*looks, seen[-1]], 600.0)
    old = [each.at for each in seen if each.at <= now - 600]
    assert looks[-1] == seen[-1]
    assert looks[0].at <= now - 600 if old else looks[0] == seen[0]
    assert all(each in seen for each in looks)


def test_a_thousand_looks_a_minute_leave_no_more_than_some_hundred() -> None:
    looks: list[Look] = []
    for number in range(5000):
        looks = _remembered([*looks, Look(at=1e9 + number * 0.5, up=True)], 1800.0)
    assert len(looks) < 450
    assert looks[0].at <= looks[-1].at - 1800


def test_a_quantile_lies_within_its_bucket_as_prometheus_has_it() -> None:
    buckets = [(0.1, 50.0), (0.5, 100.0), (float("inf"), 100.0)]
    assert quantile(buckets, 0.75) == pytest.approx(0.3)
    assert quantile([(0.1, 0.0), (float("inf"), 5.0)], 0.99) == 0.1
    assert quantile([(0.1, 0.0), (float("inf"), 0.0)], 0.99) is None
    assert quantile([], 0.99) is None


def test_a_real_server_is_looked_at_by_the_verb(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    bundle = bundles["binary"].bundle
    file = tmp_path / "roadworthy.toml"
    file.write_text(
        f"[monitor]\nalarm_state = {json.dumps(str(tmp_path / 'alarms.json'))}\n"
        "alarms.no_traffic = { minutes = 0 }\nalarms.down = { minutes = 0 }\n"
        "alarms.disk = { on = false }\nalarms.cpu = { on = false }\n"
        "alarms.memory = { on = false }\n"
    )
    words = ("monitor", "alarms", "--model", bundle.path, "--project", file, "--json", "--scrape")
    with serving(bundle.path) as served:
        address = f"http://127.0.0.1:{served.port}/metrics"
        looks = [json.loads(run(*words, address)[1])["notices"] for _ in range(3)]
    assert [[notice["key"] for notice in look] for look in looks] == [
        [], [], ["no_traffic: service"],
    ]  # fmt: skip
    code, text = run(*words, address)
    assert code == 0
    assert [notice["key"] for notice in json.loads(text)["notices"]] == ["down: service"]


def test_a_server_is_looked_at_though_its_log_cannot_be_read(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    bundle = bundles["binary"].bundle
    file, log = tmp_path / "roadworthy.toml", tmp_path / "log"
    log.mkdir()
    (log / "2026-11-01.parquet").write_bytes(b"no such thing")
    state = json.dumps(str(tmp_path / "alarms.json"))
    file.write_text(
        f"[monitor]\nalarm_state = {state}\nalarms.down = {{ minutes = 0 }}\n"
        "alarms.disk = { on = false }\nalarms.cpu = { on = false }\n"
        f"alarms.memory = {{ on = false }}\n[serve]\nlog_folder = {json.dumps(str(log))}\n"
    )
    words = ("monitor", "alarms", "--model", bundle.path, "--project", file, "--json")
    with pytest.raises(InputError, match="no segment of a prediction log"):
        run(*words)
    address = f"http://127.0.0.1:{free_port()}/metrics"
    code, text = run(*words, "--scrape", address)
    assert code == 0, text
    assert {notice["key"].partition(":")[0] for notice in json.loads(text)["notices"]} >= {"down"}
