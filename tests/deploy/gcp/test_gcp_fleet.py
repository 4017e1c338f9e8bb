"""A fleet on Google Cloud from end to end, against the strict server.

Its machines run nothing: what callers get comes from real servers of the versions, by a balancer
that goes by what the server's backend services and URL map say.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import json
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from google.auth.credentials import AnonymousCredentials
from googleapiclient.discovery import build

from roadworthy.deploy import deploying
from roadworthy.deploy.cloud.provider import DEPLOYMENT
from roadworthy.deploy.gcp.account import Account
from roadworthy.deploy.gcp.fleet import fetching
from roadworthy.deploy.gcp.fleet.target import FleetTarget
from roadworthy.deploy.gcp.fleet.wanted import fleet_parts
from roadworthy.deploy.gcp.provider import GcpProvider
from roadworthy.deploy.gcp.resource import Naming
from roadworthy.deploy.runtime import Platform, Runtime
from roadworthy.errors import CheckFailed, InputError, OutsideError, ProjectError, RoadworthyError
from roadworthy.project import Ci, GcpSection, Instances, Project, load_project
from tests.conftest import Server, Trained, serving
from tests.deploy.conftest import Load
from tests.deploy.gcp.balancer import GoogleBalancer
from tests.deploy.gcp.google_server import PROJECT, Fault, Google, google_server
from tests.registry.conftest import registry_project

pytestmark = pytest.mark.timeout(600)
BUCKET = "rw-6754af96-proj-1"
READS = ("get", "list", "aggregatedList", "getHealth", "getIamPolicy", "listManagedInstances",
         "getSerialPortOutput")  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[Google]:
    with google_server() as running:
        yield running


@pytest.fixture(scope="module")
def servers(versions: list[Trained]) -> Iterator[list[Server]]:
    with serving(versions[0].bundle.path) as one, serving(versions[1].bundle.path) as two:
        yield [one, two]


@pytest.fixture(scope="module")
def front(server: Google) -> Iterator[GoogleBalancer]:
    with contextlib.closing(GoogleBalancer(server)) as running:
        yield running


@pytest.fixture
def google(server: Google, house: Path, monkeypatch: pytest.MonkeyPatch) -> Google:
    server.things.clear()
    server.storing.contents.clear()
    server.calls.clear()
    server.refused.clear()
    server.fail = lambda method, path, body: None
    server.grouping.healthy, server.grouping.consoles = (lambda name: True), ""
    monkeypatch.setattr("googleapiclient.http.random", SimpleNamespace(random=lambda: 0.0))
    monkeypatch.setattr("google.auth.default", lambda scopes: (AnonymousCredentials(), PROJECT))
    monkeypatch.setattr(
        "roadworthy.deploy.gcp.provider.Account",
        lambda *given: Account(*given, endpoint=server.url, pause=0),
    )
    monkeypatch.setattr("roadworthy.deploy.gcp.account.build", _built)
    monkeypatch.setattr(GcpProvider, "address", "127.0.0.1")
    monkeypatch.setattr(
        "roadworthy.deploy.gcp.fleet.opening.FleetTarget",
        functools.partial(FleetTarget, pause=0.01, settling=0),
    )
    monkeypatch.setattr(FleetTarget, "_until", _now)
    monkeypatch.setattr("roadworthy.deploy.cloud.fleet_base.gather", _nothing)
    return server


_CLIENTS: dict[str, Any] = {}


def _built(name: str, version: str, **given: Any) -> Any:
    """The client of an interface; the descriptions are large, so they are read once."""
    key = f"{name} {version} {given.get('client_options')}"
    if key not in _CLIENTS:
        _CLIENTS[key] = build(name, version, **given)
    return _CLIENTS[key]


def _now(target: object, what: str, done: Callable[[], bool], seconds: float) -> None:
    """The server's machines are what they will be at once."""
    if not done():
        raise OutsideError(what, fix="run the same again")


def _nothing(platform: Platform, folder: Path) -> Runtime:
    return Runtime(platform, "", ())


@pytest.fixture
def balancer(
    google: Google, front: GoogleBalancer, versions: list[Trained], servers: list[Server]
) -> GoogleBalancer:
    front.seen.clear()
    front.servers = {
        each.bundle.manifest.short_version: running.port
        for each, running in zip(versions, servers, strict=True)
    }
    return front


def project(house: Path, front: GoogleBalancer, **values: Any) -> Project:
    given = {"zone": "europe-west1-b", "port": front.port, "keep": 2, **values}
    section = GcpSection(**{"instances": Instances(min=2, max=3), **given})
    return msgspec.structs.replace(registry_project(house), deploy={"prod": section})


def path(trained: Trained) -> str:
    return str(trained.bundle.path)


def sizes(google: Google) -> list[int]:
    return sorted(
        each["targetSize"] for at, each in google.things.items() if "/instanceGroupManagers/" in at
    )


def test_a_fleet_is_made_swapped_under_load_rolled_back_and_destroyed(
    google: Google, balancer: GoogleBalancer, house: Path, versions: list[Trained]
) -> None:
    one, two = versions
    wanted = project(house, balancer)
    first = deploying.plan(wanted, "prod", path(one))
    assert {each.change for each in first.steps} == {"create"}
    assert google.calls == []
    with pytest.raises(InputError, match="nothing is deployed"):
        deploying.rollback(wanted, "prod")
    done = deploying.apply(wanted, "prod", path(one))
    assert [each.id for each in done.changes] == [each.id for each in first.changes]
    assert google.refused == []
    assert deploying.apply(wanted, "prod", path(one)).changes == ()

    load = Load(f"127.0.0.1:{balancer.port}", one.bundle.contract.example())
    with load.running():
        swap = deploying.apply(wanted, "prod", path(two))
        wait_for(load, two)
    assert load.failures == []
    assert set(load.answers) == {one.bundle.version, two.bundle.version}
    assert [each.id for each in swap.changes][-5:] == [
        "try", "healthy", "accept", "switch", "drain"
    ]  # fmt: skip
    assert sizes(google) == [0, 2]
    trial = f"/versions/{two.bundle.manifest.short_version}/"
    tried = {group.partition("-")[2].partition("-")[2] for at, group in balancer.seen
             if trial in at}  # fmt: skip
    assert tried == {swap.release}
    status = deploying.status(wanted, "prod")
    assert status.ready
    assert (status.details["healthy"], len(status.releases)) == (2, 2)
    assert status.details["too much"] == []

    load = Load(f"127.0.0.1:{balancer.port}", one.bundle.contract.example())
    with load.running():
        deploying.rollback(wanted, "prod")
        wait_for(load, one)
    assert load.failures == []
    assert deploying.status(wanted, "prod").serving == done.release
    assert deploying.apply(wanted, "prod", path(one)).changes == ()
    deploying.destroy(wanted, "prod")
    assert google.things == {}
    assert google.storing.contents == {}
    assert deploying.destroy(wanted, "prod").changes == ()


def wait_for(load: Load, trained: Trained) -> None:
    """Callers have met a version."""
    waiting = threading.Event()
    for _ in range(1800):
        if load.answers[trained.bundle.version]:
            return
        waiting.wait(0.05)
    raise AssertionError(f"nobody met {trained.bundle.version}: {load.failures[:3]}")


@pytest.mark.parametrize("fault", ["cut after", "fault"])
def test_a_failure_at_every_call_leaves_nothing_double_and_a_rerun_completes(
    google: Google, balancer: GoogleBalancer, house: Path, versions: list[Trained], fault: Fault
) -> None:
    wanted, seen = project(house, balancer), set()

    def fail(method: str, at: str, body: Any) -> Fault | None:
        if method.rpartition(".")[2] in READS or method in seen or "perations" in method:
            return None
        if method == "healthChecks.delete" and "healthChecks.insert" not in seen:
            return None
        seen.add(method)
        return fault

    google.fail = fail
    completed(lambda: deploying.apply(wanted, "prod", path(versions[0])))
    google.fail = lambda method, at, body: None
    made = sorted(google.things)
    assert deploying.apply(wanted, "prod", path(versions[0])).changes == ()
    assert sorted(google.things) == made
    assert sizes(google) == [2]
    assert {"iam.projects.serviceAccounts.create", "storage.buckets.insert",
            "storage.buckets.setIamPolicy", "storage.objects.insert", "backendServices.patch",
            "regionInstanceGroupManagers.insert", "urlMaps.patch"} <= seen  # fmt: skip
    seen.clear()
    google.fail = fail
    completed(lambda: deploying.destroy(wanted, "prod"))
    google.fail = lambda method, at, body: None
    completed(lambda: deploying.destroy(wanted, "prod"))
    assert google.things == {}


def completed(run: Callable[[], object]) -> None:
    """Run until it completes."""
    for _ in range(60):
        try:
            run()
        except RoadworthyError as error:
            assert error.fix  # noqa: PT017
        else:
            return
    raise AssertionError("it never completed")


def test_a_release_that_does_not_answer_as_it_should_never_gets_a_caller(
    google: Google, balancer: GoogleBalancer, house: Path, versions: list[Trained]
) -> None:
    one, two = versions
    wanted = project(house, balancer)
    first = deploying.apply(wanted, "prod", path(one))
    started = two.bundle.manifest.short_version
    google.grouping.consoles = "[   12.3] roadworthy: the bundle is refused\n"
    google.grouping.healthy = lambda name: started not in name
    with pytest.raises(CheckFailed, match="callers still get what they got before") as caught:
        deploying.apply(wanted, "prod", path(two))
    assert "the bundle is refused" in str(caught.value)
    kept = Path(str(caught.value.where))
    assert (kept / "verdict.json").exists()
    assert list(kept.glob("*.console"))
    assert deploying.status(wanted, "prod").serving == first.release
    assert sizes(google) == [0, 2]
    # it answers, and is another version than it says
    google.grouping.healthy = lambda name: True
    right, balancer.servers[started] = (
        balancer.servers[started], balancer.servers[one.bundle.manifest.short_version]
    )  # fmt: skip
    with pytest.raises(CheckFailed, match=r"is not reached|does not pass"):
        deploying.apply(project(house, balancer, start_seconds=5), "prod", path(two))
    balancer.servers[started] = right
    assert deploying.status(wanted, "prod").serving == first.release
    deploying.apply(wanted, "prod", path(two))
    assert sizes(google) == [0, 2]


def test_releases_beyond_those_that_are_kept_are_removed_with_their_archives(
    google: Google, balancer: GoogleBalancer, house: Path, versions: list[Trained]
) -> None:
    one, two = versions
    deploying.apply(project(house, balancer), "prod", path(one))
    deploying.apply(project(house, balancer), "prod", path(two))
    larger = project(house, balancer, machine_type="e2-medium")
    planned = deploying.plan(larger, "prod", path(two))
    removed = [each for each in planned.steps if each.change == "delete"]
    assert {each.document["collection"] for each in removed} == {
        "objects", "instanceTemplates", "regionAutoscalers", "regionInstanceGroupManagers"
    }  # fmt: skip
    assert all(one.bundle.manifest.short_version in each.document["path"] for each in removed)
    deploying.apply(larger, "prod", path(two))
    assert sizes(google) == [0, 2]
    assert len(google.storing.contents) == 2
    assert deploying.apply(larger, "prod", path(two)).changes == ()


def test_what_was_changed_by_hand_is_seen_and_mended(
    google: Google, balancer: GoogleBalancer, house: Path, versions: list[Trained]
) -> None:
    wanted = project(house, balancer)
    deploying.apply(wanted, "prod", path(versions[0]))
    things = google.things
    firewall = things[f"projects/{PROJECT}/global/firewalls/roadworthy-prod-balancer"]
    firewall["sourceRanges"] = ["0.0.0.0/0"]
    bucket = next(each for at, each in things.items() if at == f"buckets/{BUCKET}")
    bucket["policy"]["bindings"] = []
    bucket["iamConfiguration"]["publicAccessPrevention"] = "inherited"
    # a trial that was cut off stays open
    services = f"projects/{PROJECT}/global/backendServices"
    where = things[f"projects/{PROJECT}/global/urlMaps/roadworthy-prod"]
    where["hostRules"].append({"hosts": ["*"], "pathMatcher": "callers"})
    where["pathMatchers"].append({"name": "callers", "defaultService": f"{services}/x"})
    scaler = next(each for at, each in things.items() if "/autoscalers/" in at)
    scaler["autoscalingPolicy"]["maxNumReplicas"] = 50
    planned = {
        each.id: each.what for each in deploying.plan(wanted, "prod", path(versions[0])).changes
    }
    assert "sourceRanges: 1 in place of 2" in planned.pop("gcp-firewall-balancer")
    said = planned.pop("gcp-bucket")
    assert "may not read it" in said
    assert "inherited" in said
    assert "callers: not wanted" in planned.pop("gcp-map")
    ((name, scaled),) = planned.items()
    assert name.startswith("gcp-scaling-")
    assert "50" in scaled
    deploying.apply(wanted, "prod", path(versions[0]))
    assert deploying.plan(wanted, "prod", path(versions[0])).changes == ()


def test_a_swap_that_was_cut_off_between_both_groups_can_be_taken_back(
    google: Google, balancer: GoogleBalancer, house: Path, versions: list[Trained]
) -> None:
    one, two = versions
    wanted = project(house, balancer)
    first = deploying.apply(wanted, "prod", path(one))
    patched: list[str] = []

    def fail(method: str, at: str, body: Any) -> Fault | None:
        if method != "backendServices.patch" or not at.endswith("/roadworthy-prod"):
            return None
        patched.append(at)
        return None if len(patched) == 1 else "denied"  # both groups are listed, then it ends

    google.fail = fail
    with pytest.raises(OutsideError, match="does not permit"):
        deploying.apply(wanted, "prod", path(two))
    google.fail = lambda method, at, body: None
    service = google.things[f"projects/{PROJECT}/global/backendServices/roadworthy-prod"]
    assert len(service["backends"]) == 2
    assert deploying.status(wanted, "prod").serving == first.release
    back = deploying.apply(wanted, "prod", path(one))
    changed = [each.id for each in back.changes if each.change == "create"]
    assert changed == ["gcp-trial", "switch", "drain"]
    service = google.things[f"projects/{PROJECT}/global/backendServices/roadworthy-prod"]
    assert len(service["backends"]) == 1
    assert sizes(google) == [2]
    assert deploying.apply(wanted, "prod", path(one)).changes == ()


def test_the_machines_may_read_releases_and_nobody_reaches_them_but_the_balancer(
    google: Google, balancer: GoogleBalancer, house: Path, versions: list[Trained]
) -> None:
    deploying.apply(project(house, balancer), "prod", path(versions[0]))
    template = next(each for at, each in google.things.items() if "/instanceTemplates/" in at)
    made = template["properties"]
    (identity,) = made["serviceAccounts"]
    assert identity["scopes"] == ["https://www.googleapis.com/auth/devstorage.read_only"]
    told = {each["key"]: each["value"] for each in made["metadata"]["items"]}
    assert "ssh-keys" not in told
    script = told["startup-script"]
    assert len(script.encode()) < 16_384
    assert "Bearer" in script
    policy = google.things[f"buckets/{BUCKET}"]["policy"]
    assert policy["bindings"] == [
        {"role": "roles/storage.objectViewer", "members": [f"serviceAccount:{identity['email']}"]}
    ]
    rules = [each for at, each in google.things.items() if "/firewalls/" in at]
    assert [each["sourceRanges"] for each in rules] == [["130.211.0.0/22", "35.191.0.0/16"]]
    (archive,) = google.storing.contents.values()
    assert hashlib.sha256(archive).hexdigest() in script


def test_a_machine_fetches_the_archive_with_its_token(
    google: Google, balancer: GoogleBalancer, house: Path, versions: list[Trained], tmp_path: Path
) -> None:
    deploying.apply(project(house, balancer), "prod", path(versions[0]))
    ((name, archive),) = google.storing.contents.items()
    asked: list[tuple[str, str]] = []

    class Cloud(http.server.BaseHTTPRequestHandler):
        """The metadata of a machine, and a store that takes its token alone."""

        def do_GET(self) -> None:
            asked.append((self.path, self.headers.get("Authorization", "")))
            content = archive
            if "/computeMetadata/" in self.path:
                assert self.headers["Metadata-Flavor"] == "Google"
                content = json.dumps({"access_token": "of-the-machine"}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Cloud) as cloud:
        threading.Thread(target=cloud.serve_forever, daemon=True).start()
        host = f"127.0.0.1:{cloud.server_port}"
        _, bucket, _, key = name.split("/", 3)
        environment = {**os.environ, "GCE_METADATA_HOST": host,
                       "STORAGE_EMULATOR_HOST": f"http://{host}"}  # fmt: skip
        subprocess.run(
            [sys.executable, fetching.__file__, f"gs://{bucket}/{key}", str(tmp_path / "got")],
            env=environment, check=True, timeout=120,
        )  # fmt: skip
        cloud.shutdown()
    assert (tmp_path / "got").read_bytes() == archive
    assert asked[1][1] == "Bearer of-the-machine"
    with tarfile.open(tmp_path / "got") as opened:
        assert "run.sh" in opened.getnames()


def test_alarms_go_by_what_the_balancer_counts(
    google: Google, balancer: GoogleBalancer, house: Path, versions: list[Trained]
) -> None:
    wanted = project(house, balancer, notify=("ops@example.org",))
    deploying.apply(wanted, "prod", path(versions[0]))
    (channel,) = [at for at in google.things if "/notificationChannels/" in at]
    policies = [each for at, each in google.things.items() if "/alertPolicies/" in at]
    found = {each["userLabels"]["roadworthy-part"]: each["conditions"][0]["conditionThreshold"]
             for each in policies}  # fmt: skip
    machines = {name: found.pop(f"gcp-alarm-{name}") for name in ("cpu", "memory")}
    assert set(found) == {f"gcp-alarm-{each}" for each in ("down", "errors", "latency",
                                                           "no_traffic")}  # fmt: skip
    assert all('url_map_name = "roadworthy-prod"' in each["filter"] for each in found.values())
    labels = [each["properties"]["labels"] for at, each in google.things.items()
              if "/instanceTemplates/" in at]  # fmt: skip
    assert labels == [{"roadworthy-fleet": "prod"}]
    for each in machines.values():  # each machine by itself, so that the worst one rings
        assert 'metadata.user_labels."roadworthy-fleet" = "prod"' in each["filter"]
        (how,) = each["aggregations"]
        assert how.get("groupByFields", ["resource.labels.instance_id"]) == [
            "resource.labels.instance_id"
        ]
        assert ("crossSeriesReducer" in how) == ("groupByFields" in how)
        assert (each["comparison"], each["thresholdValue"]) == ("COMPARISON_GT", 0.9)
    assert "/instance/cpu/utilization" in machines["cpu"]["filter"]
    assert "balloon/ram_used" in machines["memory"]["filter"]
    assert "balloon/ram_size" in machines["memory"]["denominatorFilter"]
    (board,) = [each for at, each in google.things.items() if "/dashboards/" in at]
    shown = [json.dumps(tile) for tile in board["mosaicLayout"]["tiles"]]
    for name in ("cpu/utilization", "balloon/ram_used"):
        (tile,) = [each for each in shown if name in each]
        assert "roadworthy-fleet" in tile
    assert all(each["notificationChannels"] == [channel] for each in policies)
    assert "response_code_class = 500" in found["gcp-alarm-errors"]["filter"]
    assert "response_code_class" not in found["gcp-alarm-errors"]["denominatorFilter"]
    assert found["gcp-alarm-latency"]["thresholdValue"] == 500
    quiet = project(house, balancer, alarms=False)
    assert {each.document["collection"] for each in deploying.apply(
        quiet, "prod", path(versions[0])).changes} == {
            "alertPolicies", "dashboards", "notificationChannels"}  # fmt: skip


def test_the_log_of_the_machines_is_read_from_their_consoles(
    google: Google, balancer: GoogleBalancer, house: Path, versions: list[Trained]
) -> None:
    wanted = project(house, balancer)
    with pytest.raises(InputError, match="nothing is deployed"):
        list(deploying.logs(wanted, "prod", 2))
    deploying.apply(wanted, "prod", path(versions[0]))
    google.grouping.consoles = "first\nsecond\nthird\n"
    lines = list(deploying.logs(wanted, "prod", 2))
    assert [each.split(" ", 1)[1] for each in lines] == ["second", "third"] * 2


def test_status_of_a_fleet_says_what_its_pipeline_signs_in_by(
    google: Google, balancer: GoogleBalancer, house: Path, versions: list[Trained]
) -> None:
    google.trusting.deleted.clear()
    ci = Ci(system="github", repository="acme/churn", environment="production")
    wanted = project(house, balancer, ci=ci, alarms=False)
    done = deploying.apply(wanted, "prod", path(versions[0]))
    assert {"gcp-ci-pool", "gcp-ci-provider", "gcp-ci-account"} <= {e.id for e in done.changes}
    assert deploying.apply(wanted, "prod", path(versions[0])).changes == ()
    details = deploying.status(wanted, "prod").details
    assert details["GCP_IDENTITY_PROVIDER"].endswith("/providers/pipeline")
    assert details["GCP_SERVICE_ACCOUNT"].endswith(f"@{PROJECT}.iam.gserviceaccount.com")
    assert "machine" not in details
    deploying.destroy(wanted, "prod")
    assert google.things == {}


def test_destroy_leaves_what_others_made(
    google: Google, balancer: GoogleBalancer, house: Path, versions: list[Trained]
) -> None:
    deploying.apply(project(house, balancer), "prod", path(versions[0]))
    theirs = f"projects/{PROJECT}/global/backendServices/theirs"
    google.things[theirs] = {
        "name": "theirs", "description": f"{DEPLOYMENT}=other",
        "selfLink": f"https://www.googleapis.com/compute/v1/{theirs}",
    }  # fmt: skip
    deploying.destroy(project(house, balancer), "prod")
    assert list(google.things) == [theirs]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("instances = {min = 3, max = 2}", "instances.min"),
        ('instances = {}\nsecrets = ["A"]', "secrets"),
        ('instances = {}\nallow_from = ["192.0.2.0/24"]', "allow_from"),
        ('instances = {}\ndomain = "api.example.org"', "certificate"),
        ('instances = {}\nservice_account = "a@b.iam.gserviceaccount.com"', "service_account"),
        ('certificate = "projects/p/global/sslCertificates/c"\nidentity = "k"', "ssh_from"),
    ],
)
def test_what_a_fleet_cannot_have_is_said(tmp_path: Path, line: str, said: str) -> None:
    place = tmp_path / "roadworthy.toml"
    place.write_text(f'[deploy.prod]\ntarget = "gcp"\nzone = "europe-west1-b"\n{line}\n')
    with pytest.raises(ProjectError, match=said):
        load_project(place)


def test_machines_of_another_series_tell_nothing_of_their_memory() -> None:
    naming = Naming("proj", "prod", "adult")
    for machine_type, memory in (("e2-medium", True), ("n2-standard-2", False)):
        wanted = GcpSection(zone="europe-west1-b", identity="", ssh_from=(),
                            instances=Instances(), machine_type=machine_type)  # fmt: skip
        parts = {each.id for each in fleet_parts(naming, wanted, Project())}
        assert ("gcp-alarm-memory" in parts) == memory
        assert "gcp-alarm-cpu" in parts
        assert "gcp-alarm-disk" not in parts
