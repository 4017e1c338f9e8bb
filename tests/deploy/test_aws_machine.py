"""A machine of a fleet: a real Debian host with the very user data of its launch template.

It has its metadata service (by token only) and AWS as moto has it; it fetches, verifies, reads its
secret, serves, and sends its log.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import http.client
import io
import json
import shutil
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import msgspec
import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from roadworthy.deploy.aws import fetching
from roadworthy.deploy.aws.account import Account
from roadworthy.deploy.aws.fleet.releases import FleetRelease, make
from roadworthy.deploy.aws.part import Naming
from roadworthy.deploy.cloud_init import LIMIT
from roadworthy.deploy.opening import wanted_of
from roadworthy.project import AwsSection, Instances
from tests.conftest import Trained
from tests.deploy.aws_server import aws_server, point_to
from tests.deploy.hosts import Host, install
from tests.installing import CACHE
from tests.registry.conftest import registry_project

REGION = "eu-central-1"
SECRET = "very-secret-value"
ROLE = {"Code": "Success", "AccessKeyId": "ASIATEST", "SecretAccessKey": "hush", "Token": "t/+=",
        "Expiration": "2099-01-01T00:00:00Z"}  # fmt: skip


class Metadata:
    """The metadata service of a machine, which answers only with a token (IMDSv2)."""

    def __init__(self) -> None:
        said = {
            "/latest/meta-data/instance-id": "i-0123456789abcdef0",
            "/latest/meta-data/iam/security-credentials/": "machines",
            "/latest/meta-data/iam/security-credentials/machines": json.dumps(ROLE),
        }

        class Answer(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                asked = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds")
                self._say(200 if asked and self.path == "/latest/api/token" else 400, "a-token")

            def do_GET(self) -> None:
                known = self.headers.get("X-aws-ec2-metadata-token") == "a-token"
                text = said.get(self.path)
                self._say(401 if not known else 404 if text is None else 200, text or "")

            def _say(self, status: int, text: str) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("0.0.0.0", 0), Answer)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Machine(Host):
    """A host that knows where its metadata service and AWS are."""

    def __init__(self, user_data: bytes, metadata: int, aws: int) -> None:
        self._ports = metadata, aws
        text = {"user-data": user_data.decode(), "meta-data": "instance-id: one\n"}
        super().__init__(lambda gateway: text)

    def _settle(self, seed: dict[str, str] | None) -> None:
        super()._settle(seed)
        surround(self, *self._ports)

    def wait_for_ssh(self, seconds: float = 120) -> None:
        """Its firewall lets nobody in."""


def surround(host: Host, metadata: int, aws: int) -> None:
    """Let services of a host find a metadata service and AWS at ports of this machine."""
    folder = host.root / "etc/systemd/system.conf.d"
    folder.mkdir(parents=True, exist_ok=True)
    places = (f"http://{host.gateway}:{port}" for port in (metadata, aws))
    names = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_ENDPOINT_URL")
    given = " ".join(f"{name}={place}" for name, place in zip(names, places, strict=True))
    (folder / "aws.conf").write_text(f"[Manager]\nDefaultEnvironment={given}\n")


@pytest.fixture
def metadata() -> Iterator[Metadata]:
    running = Metadata()
    yield running
    running.close()


@contextmanager
def release_of(folder: Path, trained: Trained, account: Account) -> Iterator[FleetRelease]:
    section = AwsSection(region=REGION, instances=Instances(), secrets=("SERVER_TOKEN",))
    project = registry_project(folder)
    project = msgspec.structs.replace(project, deploy={"prod": section})
    with wanted_of(project, "prod", section, trained.bundle) as wanted:
        assert wanted is not None
        yield make(Naming("prod", "adult"), section, project, wanted, account.id,
                   CACHE / "deploy", folder)  # fmt: skip


@pytest.mark.timeout(900)
def test_a_machine_fetches_verifies_serves_and_sends_its_log(
    tmp_path: Path, versions: list[Trained], metadata: Metadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("cloud-init")
    monkeypatch.setenv("SERVER_TOKEN", SECRET)
    with aws_server(tmp_path, "0.0.0.0") as aws:
        point_to(f"http://127.0.0.1:{aws.door.server_port}", monkeypatch)
        account = Account(REGION, None)
        client = {name: boto3.client(name, REGION) for name in
                  ("s3", "logs", "secretsmanager", "cloudwatch")}  # fmt: skip
        with release_of(tmp_path, versions[0], account) as release:
            data = release.parts[0].make.parameters["LaunchTemplateData"]["UserData"]
            text = base64.b64decode(data)
            assert len(text) < LIMIT
            assert SECRET.encode() not in text
            bucket = next(word for word in text.decode().split() if word.startswith("s3://"))
            bucket = bucket.removeprefix("s3://").partition("/")[0]
            client["s3"].create_bucket(
                Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
            )
            account.upload(bucket, release.key, release.archive)
        client["logs"].create_log_group(logGroupName="/roadworthy/prod")
        client["secretsmanager"].create_secret(
            Name=release.secret, SecretString=json.dumps({"SERVER_TOKEN": SECRET})
        )
        machine = Machine(text, metadata.port, aws.door.server_port)
        try:
            wait_until(lambda: ready(machine), machine)
            row = versions[0].bundle.contract.example()
            assert ask(machine, row)["version"] == versions[0].bundle.version
            wait_until(lambda: shown(client["logs"]), machine)
            wait_until(lambda: told(client["cloudwatch"]) == TOLD, machine)
            kept = list((machine.root / "etc/roadworthy/prod/secrets").iterdir())
            assert len(kept) == 1
            assert SECRET.encode() not in kept[0].read_bytes()  # encrypted for that host alone
            assert kept[0].stat().st_mode & 0o777 == 0o600
        finally:
            machine.close()


def wait_until(done: Any, machine: Host, seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not done():
        log = machine.root / "var/log/cloud-init-output.log"
        said = log.read_text(errors="replace")[-3000:] if log.exists() else ""
        assert time.monotonic() < end, said
        assert "Failed to run module scripts-user" not in said, said
        time.sleep(0.5)


def ready(machine: Host) -> bool:
    try:
        return machine.get("/readyz")[0] == 200
    except OSError:
        return False


def ask(machine: Host, row: dict[str, Any]) -> dict[str, Any]:
    with closing(http.client.HTTPConnection(machine.address, timeout=30)) as connection:
        connection.request("POST", "/predict", json.dumps(row),
                           {"Content-Type": "application/json"})  # fmt: skip
        return dict(json.loads(connection.getresponse().read()))


def shown(logs: Any) -> bool:
    found = logs.filter_log_events(logGroupName="/roadworthy/prod")["events"]
    return any(each["logStreamName"] == "i-0123456789abcdef0" for each in found)


TOLD = {(f"machine_{name}_percent", machine) for name in ("cpu", "memory", "disk")
        for machine in ("", "i-0123456789abcdef0")}  # fmt: skip


def told(cloudwatch: Any) -> set[tuple[str, str]]:
    """What came of the machine: metric, and of which machine, or of all."""
    found = cloudwatch.list_metrics(Namespace="Roadworthy/prod")["Metrics"]
    return {(each["MetricName"], "".join(one["Value"] for one in each["Dimensions"]))
            for each in found}  # fmt: skip


def test_a_machine_tells_every_minute_how_busy_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, list[str]]] = []
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise KeyboardInterrupt

    def send(region: str, service: str, method: str, path: str, body: bytes) -> io.BytesIO:
        assert (region, service, method, path) == (REGION, "monitoring", "POST", "/")
        sent.append(urllib.parse.parse_qs(body.decode(), strict_parsing=True))
        return io.BytesIO()

    monkeypatch.setattr(fetching, "send", send)
    monkeypatch.setattr(fetching, "meta", lambda path: "i-1")
    monkeypatch.setattr(fetching.time, "sleep", pause)
    with pytest.raises(KeyboardInterrupt):
        fetching.metrics(REGION, "Roadworthy/prod")
    assert pauses == [5.0, 60.0, 60.0]
    assert len(sent) == 2
    for form in sent:
        assert form["Namespace"] == ["Roadworthy/prod"]
        values = [float(form[f"MetricData.member.{each}.Value"][0]) for each in range(1, 7)]
        assert values[:3] == values[3:]  # of all machines, and of this one
        assert all(0 <= each <= 100 for each in values)
        assert [f"MetricData.member.{each}.Dimensions.member.1.Value" in form
                for each in range(1, 7)] == [False] * 3 + [True] * 3  # fmt: skip
    disk = shutil.disk_usage("/")
    share = 100 * (1 - disk.free / disk.total)
    assert float(sent[-1]["MetricData.member.3.Value"][0]) == pytest.approx(share, abs=1)


def test_how_busy_a_machine_is_is_what_it_used_since_it_was_asked_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stat = "cpu  100 10 40 700 100 20 20 10 5 5\ncpu0 1 1\n"
    memory = "MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 250 kB\nHugePages_Total: 0\n"
    files = {"/proc/stat": stat, "/proc/meminfo": memory}
    monkeypatch.setattr("builtins.open", lambda path: io.StringIO(files[path]))
    now, used = fetching.usage((500, 500))
    assert now == (1000, 800)  # guests are counted with users already
    assert used["cpu"] == pytest.approx(40.0)
    assert used["memory"] == pytest.approx(75.0)


@pytest.mark.parametrize(
    ("work", "service", "signer"),
    [(["s3", "bucket/releases/a.tar"], "s3", S3SigV4Auth),
     (["secret", "roadworthy/prod/a"], "secretsmanager", SigV4Auth),
     (["metrics", "Roadworthy/prod"], "monitoring", SigV4Auth)],
)  # fmt: skip
def test_requests_are_signed_as_the_library_of_aws_signs_them(
    tmp_path: Path, metadata: Metadata, work: list[str], service: str, signer: type[SigV4Auth]
) -> None:
    seen: list[tuple[str, str, dict[str, str], bytes]] = []

    class Keep(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            seen.append((self.command, self.path, dict(self.headers), body))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"SecretString": "x"}')

        do_GET = do_POST  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Keep) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        environment = {
            "AWS_ENDPOINT_URL": url,
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://127.0.0.1:{metadata.port}",
        }
        endless, file = work[0] == "metrics", tmp_path / "file"
        script = [
            sys.executable,
            str(fetching.__file__),
            REGION,
            *work,
            *([] if endless else [file]),
        ]
        with subprocess.Popen(script, env=environment) as process:
            end = time.monotonic() + 120
            while process.poll() is None and not (endless and seen):
                assert time.monotonic() < end
                time.sleep(0.05)
            process.terminate()
        server.shutdown()
    assert endless or file.exists()
    ((method, path, headers, body),) = seen
    lower = {name.lower(): value for name, value in headers.items()}
    assert lower["x-amz-content-sha256"] == hashlib.sha256(body).hexdigest()
    names = lower["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    request = AWSRequest(method, url + path, {name: lower[name] for name in names}, body)
    moment = datetime.datetime.strptime(lower["x-amz-date"], "%Y%m%dT%H%M%SZ")
    request.context["timestamp"] = f"{moment:%Y%m%dT%H%M%SZ}"
    who = Credentials("ASIATEST", str(ROLE["SecretAccessKey"]), str(ROLE["Token"]))
    auth = signer(who, service, REGION)
    text = auth.string_to_sign(request, auth.canonical_request(request))
    assert lower["authorization"].endswith(f"Signature={auth.signature(text, request)}")
