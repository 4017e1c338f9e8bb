"""Alarms: the documents are what each place takes, and they ring."""

from __future__ import annotations

import http.server
import json
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import botocore.validate
import pytest
from aiosmtpd.controller import Controller
from google.cloud import monitoring_v3
from google.protobuf import json_format
from moto import mock_aws

from roadworthy.errors import InputError, OutsideError
from roadworthy.monitor.alarms import TARGETS, Place, alarm_list
from roadworthy.monitor.alarms._base import link_of
from roadworthy.monitor.alarms.measured import measured_findings
from roadworthy.monitor.alarms.notices import Notice, post, tell, ways_to_send
from roadworthy.monitor.export import Sample
from roadworthy.monitor.findings import KINDS, Finding
from roadworthy.project import load_project
from roadworthy.project.monitor import AlarmOptions, MonitorSection
from tests.conftest import Trained, free_port
from tests.monitor.debian import program
from tests.monitor.test_report import run, serve

PLACE = Place("loans", "roadworthy", "", "i-0abc")
ALARMS = alarm_list(MonitorSection())
NAMES = {alarm.name for alarm in ALARMS}


def rendered(target: str, place: Place = PLACE, **options: AlarmOptions) -> dict[str, Any]:
    alarms = alarm_list(MonitorSection(alarms=options)) if options else ALARMS
    files = TARGETS[target].render(alarms, place)
    return {name: json.loads(content) for name, content in files.items()}


def test_one_list_is_told_by_the_project_file(tmp_path: Path) -> None:
    file = tmp_path / "roadworthy.toml"
    file.write_text(
        "[monitor.alarms.errors]\nthreshold = 0.05\nminutes = 2\n[monitor.alarms.cpu]\non = false\n"
    )
    found = {alarm.name: alarm for alarm in alarm_list(load_project(file).monitor)}
    assert found["errors"].threshold == 0.05
    assert found["errors"].minutes == 2
    assert NAMES - set(found) == {"cpu"}
    file.write_text("[monitor.alarms.erors]\nthreshold = 1\n")
    with pytest.raises(InputError, match="erors"):
        load_project(file)


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_every_alarm_goes_to_every_place_with_what_to_do(target: str) -> None:
    text = json.dumps(rendered(target))
    for alarm in ALARMS:
        assert f"#alarm-{alarm.name}" in text
        assert alarm.action in text


def test_whatever_an_alarm_links_to_is_written() -> None:
    page = (Path(__file__).parents[2] / "docs" / "monitoring.md").read_text()
    links = {alarm.link for alarm in ALARMS}
    links |= {link_of(kind, MonitorSection().runbook) for kind in KINDS}
    for link in links:
        assert f'<a id="{link.partition("#")[2]}"></a>' in page, link


def test_the_rules_pass_promtool_and_the_routes_pass_amtool(tmp_path: Path) -> None:
    files = TARGETS["prometheus"].render(ALARMS, PLACE._replace(notify="http://127.0.0.1:1/"))
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    rules = [program("promtool"), "check", "rules", str(tmp_path / "roadworthy.rules.json")]
    ran = subprocess.run(rules, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert f"{len(ALARMS)} rules found" in ran.stdout
    routes = [program("amtool"), "check-config", str(tmp_path / "alertmanager.json")]
    ran = subprocess.run(routes, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


SERIES = {  # alarm -> series that make it ring after an hour, and ones that do not
    "down": ('up{job="roadworthy"}', "0x200", "1x200"),
    "errors": ('roadworthy_requests_total{model="loans",code="500"}', "0+10x200", "0x200"),
    "log_lost": ('roadworthy_log_dropped_total{job="roadworthy"}', "0+10x200", "7x200"),
    "data": (
        'roadworthy_findings{model="loans",kind="unit_change",severity="serious",subject="x"}',
        "1x200", "0x200",
    ),
    "drift": (
        'roadworthy_findings{model="loans",kind="drift",severity="warning",subject="x"}',
        "1x200", "0x200",
    ),
    "quality": (
        'roadworthy_findings{model="loans",kind="concept_drift",severity="serious",subject="p"}',
        "1x200", "0x200",
    ),
    "no_traffic": ('roadworthy_requests_total{model="loans",code="200"}', "9x200", "0+60x200"),
    "stale_model": ('roadworthy_model_age_days{model="loans"}', "400x200", "3x200"),
    "certificate": ('roadworthy_certificate_days{file="a.pem"}', "3x200", "90x200"),
    "memory": ("node_memory_MemAvailable_bytes", "5x200", "50x200"),
    "disk": ('node_filesystem_avail_bytes{fstype="ext4"}', "5x200", "50x200"),
    "cpu": ('node_cpu_seconds_total{mode="idle",instance="a"}', "0+1x200", "0+50x200"),
    "latency": (
        'roadworthy_request_duration_seconds_bucket{model="loans",le="0.5"}', "0x200", "0+60x200",
    ),
}  # fmt: skip
BESIDE = [
    ('roadworthy_requests_total{model="loans",code="200"}', "0+60x200", "errors"),
    ("node_memory_MemTotal_bytes", "100x200", "memory"),
    ('node_filesystem_size_bytes{fstype="ext4"}', "100x200", "disk"),
    ('roadworthy_request_duration_seconds_bucket{model="loans",le="1"}', "0+60x200", "latency"),
    ('roadworthy_request_duration_seconds_bucket{model="loans",le="+Inf"}', "0+60x200", "latency"),
]


def test_every_rule_rings_when_it_should_and_is_silent_when_not(tmp_path: Path) -> None:
    files = TARGETS["prometheus"].render(ALARMS, PLACE)
    (tmp_path / "rules.json").write_bytes(files["roadworthy.rules.json"])
    assert set(SERIES) == NAMES
    rules = json.loads(files["roadworthy.rules.json"])["groups"][0]["rules"]
    alerts = {alarm.name: rule for alarm, rule in zip(ALARMS, rules, strict=True)}
    tests = []
    for name, (series, bad, good) in SERIES.items():
        for values, rings in ((bad, True), (good, False)):
            inputs = [{"series": series, "values": values}]
            inputs += [{"series": s, "values": v} for s, v, whose in BESIDE if whose == name]
            expression = f'count(ALERTS{{alertname="{alerts[name]["alert"]}",alertstate="firing"}})'
            samples = [{"labels": "{}", "value": 1}] if rings else []
            tests.append(
                {
                    "interval": "1m",
                    "input_series": inputs,
                    "promql_expr_test": [
                        {"expr": expression, "eval_time": "150m", "exp_samples": samples}
                    ],
                }
            )
    document = {"rule_files": ["rules.json"], "evaluation_interval": "1m", "tests": tests}
    (tmp_path / "test.json").write_text(json.dumps(document))
    command = [program("promtool"), "test", "rules", "test.json"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


class Listener:
    """Serves text to scrape at GET, and keeps what is posted."""

    def __init__(self, text: str = "", status: int = 200) -> None:
        self.posted: list[Any] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._say(text.encode())

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                outer.posted.append(json.loads(self.rfile.read(length)))
                self._say(b"ok")

            def _say(self, content: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/secret-path"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    finding = 'roadworthy_findings{model="loans",kind="stuck",severity="serious",subject="x"} 1\n'
    made = Listener(finding)
    yield made
    made.stop()


def test_a_real_prometheus_rings_through_a_real_alertmanager(
    tmp_path: Path, listener: Listener
) -> None:
    quick = {"data": AlarmOptions(minutes=0)}
    alarms = alarm_list(MonitorSection(alarms=quick))
    files = TARGETS["prometheus"].render(alarms, PLACE._replace(notify=listener.url))
    (tmp_path / "rules.json").write_bytes(files["roadworthy.rules.json"])
    routes = json.loads(files["alertmanager.json"])
    routes["route"]["group_wait"] = "1s"
    (tmp_path / "alertmanager.json").write_text(json.dumps(routes))
    ports = free_port(), free_port()
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.json"],
        "alerting": {
            "alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{ports[1]}"]}]}]
        },
        "scrape_configs": [
            {
                "job_name": "roadworthy",
                "static_configs": [{"targets": [f"127.0.0.1:{listener.port}"]}],
            }
        ],
    }
    (tmp_path / "prometheus.json").write_text(json.dumps(config))
    commands = [
        [
            program("prometheus"), "--config.file=prometheus.json", "--storage.tsdb.path=data",
            f"--web.listen-address=127.0.0.1:{ports[0]}",
        ],
        [
            program("prometheus-alertmanager"), "--config.file=alertmanager.json",
            "--storage.path=am", f"--web.listen-address=127.0.0.1:{ports[1]}",
            "--cluster.listen-address=",
        ],
    ]  # fmt: skip
    with (tmp_path / "log").open("w") as log:
        running = [
            subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log) for command in commands
        ]
        try:
            deadline = time.monotonic() + 60
            while not listener.posted and time.monotonic() < deadline:
                time.sleep(0.2)
        finally:
            for process in running:
                process.terminate()
                process.wait(20)
    assert listener.posted, (tmp_path / "log").read_text()[-2000:]
    (alert,) = listener.posted[0]["alerts"]
    assert alert["labels"]["alertname"] == "RoadworthyData"
    assert alert["labels"]["kind"] == "stuck"
    assert alert["annotations"]["runbook_url"].endswith("#alarm-data")


SCRAPED = """
roadworthy_requests_total{model="loans",route="/predict",code="200"} %(n)d
roadworthy_errors_total{model="loans"} %(n)d
roadworthy_predictions_total{model="loans",class="yes"} %(n)d
roadworthy_request_duration_seconds_bucket{model="loans",le="0.5"} %(n)d
roadworthy_request_duration_seconds_bucket{model="loans",le="+Inf"} %(n)d
roadworthy_blank_total{model="loans",column="a"} %(n)d
roadworthy_unseen_total{model="loans",column="a"} %(n)d
roadworthy_quality{model="loans",metric="accuracy",part="value"} 0.9
roadworthy_quality_estimated{model="loans",metric="accuracy",part="value"} 0.9
roadworthy_findings{model="loans",kind="stuck",severity="serious",subject="x"} 1
roadworthy_model_info{model="loans",version="a",task="binary"} 1
"""


def test_every_panel_of_the_dashboard_has_an_answer_in_a_real_prometheus(tmp_path: Path) -> None:
    files = TARGETS["prometheus"].render(
        alarm_list(MonitorSection(alarms={"data": AlarmOptions(minutes=0)})), PLACE
    )
    (tmp_path / "rules.json").write_bytes(files["roadworthy.rules.json"])
    moment = int(time.time()) // 60 * 60 - 3600
    lines = []
    for minute in range(40):
        scraped = (SCRAPED % {"n": 60 * minute}).strip().splitlines()
        lines += [f"{line} {moment + 60 * minute}" for line in scraped]
        fired = 'ALERTS{alertname="RoadworthyData",alertstate="firing",model="loans"} 1'
        lines.append(f"{fired} {moment + 60 * minute}")
    (tmp_path / "series.txt").write_text("\n".join(sorted(lines)) + "\n# EOF\n")
    made = [program("promtool"), "tsdb", "create-blocks-from", "openmetrics", "series.txt", "data"]
    subprocess.run(made, cwd=tmp_path, capture_output=True, check=True)
    (tmp_path / "prometheus.json").write_text("{}")
    port = free_port()
    command = [
        program("prometheus"), "--config.file=prometheus.json", "--storage.tsdb.path=data",
        f"--web.listen-address=127.0.0.1:{port}", "--storage.tsdb.retention.time=10y",
    ]  # fmt: skip
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
    try:
        panels = json.loads(files["grafana-dashboard.json"])["panels"]
        asked = [(p["title"], t["expr"]) for p in panels for t in p["targets"]]
        empty = [
            title
            for title, expression in asked
            if not ask(port, expression.replace("$model", "loans"), moment + 39 * 60)
        ]
        assert len(asked) >= 10
        assert empty == []
    finally:
        process.terminate()
        process.wait(20)


def ask(port: int, expression: str, moment: int) -> list[Any]:
    query = urllib.parse.urlencode({"query": expression, "time": moment})
    deadline = time.monotonic() + 60
    while True:
        try:
            url = f"http://127.0.0.1:{port}/api/v1/query?{query}"
            with urllib.request.urlopen(url, timeout=10) as answer:
                return list(json.load(answer)["data"]["result"])
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def test_cloudwatch_takes_every_alarm_and_the_dashboard() -> None:
    topic = "arn:aws:sns:eu-west-1:123456789012:roadworthy"
    files = rendered("cloudwatch", PLACE._replace(notify=topic))
    model = botocore.session.get_session().get_service_model("cloudwatch")
    shape = model.operation_model("PutMetricAlarm").input_shape
    validator = botocore.validate.ParamValidator()
    for alarm in files["cloudwatch-alarms.json"]:
        report = validator.validate(alarm, shape)
        assert not report.has_errors(), report.generate_report()
        assert alarm["EvaluationPeriods"] * alarm.get("Period", 60) <= 86_400
    with mock_aws():
        client = boto3.client(
            "cloudwatch", "eu-west-1", aws_access_key_id="a", aws_secret_access_key="b"
        )
        for alarm in files["cloudwatch-alarms.json"]:
            client.put_metric_alarm(**alarm)
        known = client.describe_alarms()["MetricAlarms"]
        assert {a["AlarmName"] for a in known} == {f"roadworthy-loans-{n}" for n in NAMES}
        body = json.dumps(files["cloudwatch-dashboard.json"])
        client.put_dashboard(DashboardName="roadworthy", DashboardBody=body)
    for alarm in files["cloudwatch-alarms.json"]:
        for query in alarm.get("Metrics", []):
            assert query["Id"][0].islower()
            names = [d["Name"] for q in alarm["Metrics"] if "MetricStat" in q
                     for d in q["MetricStat"]["Metric"]["Dimensions"]]  # fmt: skip
            assert set(names) <= {"model", "kind", "InstanceId"}


def test_azure_takes_every_alert() -> None:
    from azure.mgmt.monitor import models

    (template,) = rendered("azure").values()
    assert {r["name"] for r in template["resources"]} == {f"roadworthy-loans-{n}" for n in NAMES}
    frequencies = {"PT1M", "PT5M", "PT15M", "PT30M", "PT1H"}
    windows = {*frequencies, "PT6H", "PT12H", "P1D"}
    for resource in template["resources"]:
        about = resource["properties"]
        assert about["evaluationFrequency"] in frequencies
        assert about["windowSize"] in windows
        (criterion,) = about["criteria"]["allOf"]
        made = models.MetricAlertResource.deserialize(resource)
        back = {**made.serialize(), **{k: resource[k] for k in ("name", "type", "apiVersion")}}
        assert back == resource  # what the SDK's own model does not know would be lost
        assert criterion["operator"] in {o.value for o in models.Operator}
        assert criterion["timeAggregation"] in {a.value for a in models.AggregationTypeEnum}


def test_google_takes_every_policy() -> None:
    files = rendered("google")
    policies = files["google-policies.json"]
    tiles = files["google-dashboard.json"]["mosaicLayout"]["tiles"]
    assert [each["widget"]["title"] for each in tiles] == [
        each["conditions"][0]["displayName"] for each in policies
    ]
    assert len(policies) == len(NAMES)
    for policy in policies:
        message = monitoring_v3.AlertPolicy()._pb
        json_format.ParseDict(policy, message)  # an unknown key or a wrong type is a fault
        (condition,) = message.conditions
        assert condition.WhichOneof("condition") is not None
        assert all(key == key.lower() for key in message.user_labels)


def finding(severity: str = "warning", subject: str = "income") -> Finding:
    return Finding("drift", severity, subject, f"{subject} moved", {}, None, "look")  # type: ignore[arg-type]


def test_a_notice_is_sent_once_told_again_daily_and_ends_after_three_quiet_looks(
    tmp_path: Path,
) -> None:
    options = MonitorSection(alarm_state=str(tmp_path / "alarms.json"), repeat_hours=24)
    sent: list[Notice] = []

    def look(*found: Finding, hours: float) -> list[tuple[str, str]]:
        notices = tell(
            found, "loans", options, sends={"webhook": sent.extend}, now=1e9 + hours * 3600
        )
        return [(notice.state, notice.key) for notice in notices]

    key = "drift: income"
    assert look(finding(), hours=0) == []  # once is chance
    assert look(finding(), hours=1) == [("open", key)]
    assert look(finding(), hours=2) == []
    assert look(hours=3) == []  # it flaps
    assert look(finding(), hours=4) == []
    assert look(finding(), hours=25.5) == [("open_still", key)]
    assert [look(hours=26 + n) for n in range(3)] == [[], [], [("over", key)]]
    assert look(finding("serious"), hours=40) == [("open", key)]
    assert look(finding("info", "debt"), hours=41) == []
    assert len(sent) == 4
    assert sent[0].link == "docs/monitoring.md#alarm-drift"


def test_an_alarm_that_is_off_is_told_nowhere_and_one_that_goes_off_is_over(tmp_path: Path) -> None:
    state = str(tmp_path / "alarms.json")
    off = {"drift": AlarmOptions(on=False)}
    options, silent = (
        MonitorSection(alarm_state=state),
        MonitorSection(alarm_state=state, alarms=off),
    )
    assert tell([finding("serious")], "loans", silent, sends={}) == []
    assert len(tell([finding("serious")], "loans", options, sends={})) == 1
    told = [tell([finding("serious")], "loans", silent, sends={}) for _ in range(3)]
    assert [notice.state for look in told for notice in look] == ["over"]


def test_ages_certificates_and_the_disk_ring_by_the_list_of_alarms() -> None:
    measured = [
        Sample("roadworthy_model_age_days", {"model": "loans"}, 400.0),
        Sample("roadworthy_certificate_days", {"model": "loans"}, 13.0),
        Sample("roadworthy_disk_used_share", {"folder": "log"}, 0.5),
    ]
    found = measured_findings(measured, MonitorSection())
    assert [(each.kind, each.severity) for each in found] == [
        ("stale_model", "warning"), ("certificate", "warning"),
    ]  # fmt: skip
    changed = {"stale_model": AlarmOptions(on=False), "certificate": AlarmOptions(threshold=10),
               "disk": AlarmOptions(threshold=0.4)}  # fmt: skip
    (full,) = measured_findings(measured, MonitorSection(alarms=changed))
    assert (full.kind, full.severity) == ("disk", "serious")
    assert "50%" in full.what


def test_counts_alone_are_looked_at_and_told(bundles: dict[str, Trained], tmp_path: Path) -> None:
    trained = bundles["binary"]
    serve(trained, tmp_path / "counts", 3)
    file = tmp_path / "roadworthy.toml"
    file.write_text(
        f"[monitor]\ncounts = {json.dumps(str(tmp_path / 'counts'))}\n"
        f"alarm_state = {json.dumps(str(tmp_path / 'alarms.json'))}\n"
        "[monitor.alarms.stale_model]\nthreshold = 0\n[monitor.alarms.disk]\non = false\n"
    )
    words = ("monitor", "alarms", "--model", trained.bundle.path, "--project", file, "--json")
    looks = [run(*words) for _ in range(2)]
    assert [code for code, _ in looks] == [0, 0]
    notices = json.loads(looks[1][1])["notices"]
    assert "stale_model: service" in [notice["key"] for notice in notices]


def test_what_could_not_be_delivered_is_sent_at_the_next_look(tmp_path: Path) -> None:
    options = MonitorSection(alarm_state=str(tmp_path / "alarms.json"))

    def fail(_: Any) -> None:
        raise OutsideError("the webhook answered 500")

    with pytest.raises(OutsideError):
        tell([finding("serious")], "loans", options, sends={"webhook": fail})
    sent: list[Notice] = []
    tell([finding("serious")], "loans", options, sends={"webhook": sent.extend})
    assert [notice.state for notice in sent] == ["open"]
    tell([finding("serious")], "loans", options, sends={"webhook": sent.extend})
    assert len(sent) == 1


def test_what_one_way_could_not_deliver_is_not_sent_again_by_the_others(tmp_path: Path) -> None:
    options = MonitorSection(alarm_state=str(tmp_path / "alarms.json"))
    posted: list[Notice] = []
    mailed: list[Notice] = []

    def fail(_: Any) -> None:
        raise OutsideError("the mail server did not take the notice")

    ways = {"webhook": posted.extend, "smtp": fail}
    for _ in range(3):  # it stays away
        with pytest.raises(OutsideError, match="mail server"):
            tell([finding("serious")], "loans", options, sends=ways)
    with pytest.raises(OutsideError, match="mail server"):
        tell([finding("serious"), finding("serious", "debt")], "loans", options, sends=ways)
    assert [notice.key for notice in posted] == ["drift: income", "drift: debt"]
    tell([], "loans", options, sends={**ways, "smtp": mailed.extend})
    assert [notice.key for notice in mailed] == ["drift: income", "drift: debt"]
    assert len(posted) == 2
    assert sorted(path.name for path in tmp_path.glob("*.json*")) == [
        "alarms.json", "alarms.json.lock",
    ]  # fmt: skip


def test_what_a_way_owes_is_bounded_and_a_damaged_file_says_so(tmp_path: Path) -> None:
    options = MonitorSection(alarm_state=str(tmp_path / "alarms.json"))

    def fail(_: Any) -> None:
        raise OutsideError("the webhook answered 500")

    many = [finding("serious", f"c{number:03}") for number in range(250)]
    with pytest.raises(OutsideError):
        tell(many, "loans", options, sends={"webhook": fail})
    sent: list[Notice] = []
    tell(many, "loans", options, sends={"webhook": sent.extend})
    assert [notice.key for notice in sent] == [f"drift: c{number:03}" for number in range(50, 250)]
    (tmp_path / "alarms.json.owed").write_text("[")
    with pytest.raises(InputError, match="could not be delivered is damaged"):
        tell([], "loans", options, sends={})


def test_a_webhook_gets_a_document_and_its_address_is_never_told(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALARM_URL", listener.url)
    send = ways_to_send(MonitorSection(webhook="env:ALARM_URL"))["webhook"]
    notice = Notice(state="open", key="k", model="m", severity="serious", what="broke", since=0)
    send([notice])
    assert listener.posted[0]["text"] == "[open] serious: m: broke"
    assert listener.posted[0]["notices"][0]["key"] == "k"
    refusing = Listener(status=500)
    with pytest.raises(OutsideError) as failed:
        post(refusing.url, [notice])
    refusing.stop()
    with pytest.raises(OutsideError) as gone:
        post("http://127.0.0.1:1/secret-path", [notice])
    assert "secret-path" not in str(failed.value) + str(gone.value)
    with pytest.raises(InputError, match="UNSET"):
        ways_to_send(MonitorSection(webhook="env:UNSET"))


def test_a_real_mail_server_gets_one_message_for_all_notices(tmp_path: Path) -> None:
    received: list[Any] = []

    class Handler:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
            received.append(envelope)
            return "250 OK"

    controller = Controller(Handler(), hostname="127.0.0.1", port=free_port())
    controller.start()
    options = MonitorSection(
        smtp=f"127.0.0.1:{controller.port}", smtp_security="none", smtp_to=("ops@example.org",),
        alarm_state=str(tmp_path / "alarms.json"),
    )  # fmt: skip
    evil = Finding("drift", "serious", "a", "moved\r\nBcc: all@example.org", {}, None, "look")
    try:
        tell([evil, finding("serious", "b")], "loans", options)
    finally:
        controller.stop()
    (envelope,) = received
    text = envelope.content.decode()
    assert envelope.rcpt_tos == ["ops@example.org"]
    assert "Subject: [serious] loans" in text
    assert "\nBcc:" not in text.split("\r\n\r\n", 1)[0]
    assert "b moved" in text
    with pytest.raises(OutsideError, match="mail server"):
        tell([finding("serious", "c")], "loans", options)


def test_a_damaged_state_and_a_folder_that_is_none_say_so(tmp_path: Path) -> None:
    state = tmp_path / "alarms.json"
    state.write_text("{")
    with pytest.raises(InputError, match="damaged"):
        tell([], "loans", MonitorSection(alarm_state=str(state)))
    with pytest.raises(OutsideError):
        tell([], "loans", MonitorSection(alarm_state=str(state / "below" / "a.json")))
