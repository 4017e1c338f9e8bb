"""A fleet on Azure from end to end, against the strict Resource Manager.

Its machines run nothing: what callers get comes from real servers of the versions, by a balancer
that goes by what the gateway's path map says.
"""

from __future__ import annotations

import base64
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
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from roadworthy.deploy import deploying
from roadworthy.deploy.azure.account import Account
from roadworthy.deploy.azure.fleet import fetching
from roadworthy.deploy.azure.fleet.provider import FleetProvider
from roadworthy.deploy.azure.fleet.target import FleetTarget
from roadworthy.deploy.azure.fleet.traffic import Traffic
from roadworthy.deploy.cloud.fleet import Fleet
from roadworthy.deploy.cloud.provider import DEPLOYMENT
from roadworthy.deploy.runtime import Platform, Runtime
from roadworthy.errors import CheckFailed, InputError, OutsideError, ProjectError, RoadworthyError
from roadworthy.project import AzureSection, Ci, Instances, Project, load_project
from roadworthy.project.monitor import AlarmOptions
from tests.conftest import Server, Trained, serving
from tests.deploy.azure.arm_server import SUBSCRIPTION, Arm, Fault
from tests.deploy.azure.balancer import AzureBalancer
from tests.deploy.azure.registering import OWNER
from tests.deploy.azure.test_azure import GROUP, arm, server
from tests.deploy.azure.test_azure_registry import DATABASE, PARTS, STORE, Person
from tests.deploy.conftest import Load
from tests.registry.conftest import registry_project

__all__ = ["arm", "server"]  # fixtures
pytestmark = pytest.mark.timeout(600)
VAULTS = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/keys"
SECRET = f"{VAULTS}/providers/Microsoft.KeyVault/vaults/ours/secrets/api"


@pytest.fixture(scope="module")
def servers(versions: list[Trained]) -> Iterator[list[Server]]:
    with serving(versions[0].bundle.path) as one, serving(versions[1].bundle.path) as two:
        yield [one, two]


@pytest.fixture(scope="module")
def front(server: Arm) -> Iterator[AzureBalancer]:
    with contextlib.closing(AzureBalancer(server)) as running:
        yield running


@pytest.fixture
def azure(arm: Arm, house: Path, monkeypatch: pytest.MonkeyPatch) -> Arm:
    arm.stored.clear()
    arm.operations.clear()
    arm.healthy = lambda name: True
    monkeypatch.setenv("AZURE_SUBSCRIPTION_ID", SUBSCRIPTION)
    monkeypatch.setattr("azure.identity.DefaultAzureCredential", Person)
    monkeypatch.setattr(
        "roadworthy.deploy.azure.provider.Account",
        functools.partial(Account, endpoint=arm.url, pause=0),
    )
    monkeypatch.setattr("roadworthy.deploy.azure.account._RIGHTS_KNOWN", 0)
    monkeypatch.setattr(Traffic, "address", "127.0.0.1")
    monkeypatch.setattr(
        "roadworthy.deploy.azure.fleet.opening.FleetTarget",
        functools.partial(FleetTarget, pause=0.01, settling=0),
    )
    monkeypatch.setattr(Fleet, "_until", _now)
    monkeypatch.setattr("roadworthy.deploy.cloud.fleet_base.gather", _nothing)
    return arm


def _now(target: object, what: str, done: Callable[[], bool], seconds: float) -> None:
    """The server's machines are what they will be at once."""
    if not done():
        raise OutsideError(what, fix="run the same again")


def _nothing(platform: Platform, folder: Path) -> Runtime:
    return Runtime(platform, "", ())


@pytest.fixture
def balancer(
    azure: Arm, front: AzureBalancer, versions: list[Trained], servers: list[Server]
) -> AzureBalancer:
    front.seen.clear()
    front.servers = {
        each.bundle.manifest.short_version: running.port
        for each, running in zip(versions, servers, strict=True)
    }
    return front


def project(house: Path, front: AzureBalancer, **values: Any) -> Project:
    given = {"region": "westeurope", "port": front.port, "keep": 2, **values}
    section = AzureSection(**{"instances": Instances(min=2, max=3), **given})
    return msgspec.structs.replace(registry_project(house), deploy={"prod": section})


def path(trained: Trained) -> str:
    return str(trained.bundle.path)


def of(azure: Arm, kind: str) -> list[dict[str, Any]]:
    return [each for each in azure.things.values() if each["type"].rpartition("/")[2] == kind]


def sizes(azure: Arm) -> list[int]:
    return sorted(each["sku"]["capacity"] for each in of(azure, "virtualMachineScaleSets"))


def test_a_fleet_is_made_swapped_under_load_rolled_back_and_destroyed(
    azure: Arm, balancer: AzureBalancer, house: Path, versions: list[Trained]
) -> None:
    one, two = versions
    wanted = project(house, balancer)
    first = deploying.plan(wanted, "prod", path(one))
    assert {each.change for each in first.steps} == {"create"}
    assert azure.calls == []
    with pytest.raises(InputError, match="nothing is deployed"):
        deploying.rollback(wanted, "prod")
    done = deploying.apply(wanted, "prod", path(one))
    assert azure.refused == []
    assert {each.id for each in done.changes} == {each.id for each in first.changes} - {
        "azure-group"  # the lock has made it
    }
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
    assert sizes(azure) == [0, 2]
    trial = f"/versions/{two.bundle.manifest.short_version}/"
    assert {release for at, release in balancer.seen if trial in at} == {swap.release}
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
    assert azure.refused == []
    deploying.destroy(wanted, "prod")
    assert azure.things == {}
    assert deploying.plan_destroy(wanted, "prod").changes == ()


def wait_for(load: Load, trained: Trained) -> None:
    """Callers have met a version."""
    waiting = threading.Event()
    for _ in range(1800):
        if load.answers[trained.bundle.version]:
            return
        waiting.wait(0.05)
    raise AssertionError(f"nobody met {trained.bundle.version}: {load.failures[:3]}")


@pytest.mark.parametrize("fault", ["cut after", "denied"])
def test_a_failure_at_every_call_leaves_nothing_double_and_a_rerun_completes(
    azure: Arm, balancer: AzureBalancer, house: Path, versions: list[Trained], fault: Fault
) -> None:
    wanted, seen = project(house, balancer), set()

    def fail(method: str, at: str) -> Fault | None:
        key = method, at.rpartition("/")[0] if "/blobs/" in at else at
        if method == "GET" or key in seen:
            return None
        seen.add(key)
        return fault

    azure.fail = fail
    completed(lambda: deploying.apply(wanted, "prod", path(versions[0])))
    azure.fail = lambda method, at: None
    made = sorted(azure.things)
    assert deploying.apply(wanted, "prod", path(versions[0])).changes == ()
    assert sorted(azure.things) == made
    assert sizes(azure) == [2]
    kinds = {at.rpartition("/providers/")[2].split("/")[1] for _, at in seen if "/providers/" in at}
    assert {"applicationGateways", "virtualMachineScaleSets", "autoscaleSettings", "metricAlerts",
            "storageAccounts", "roleAssignments", "natGateways"} <= kinds  # fmt: skip
    seen.clear()
    azure.fail = fail
    completed(lambda: deploying.destroy(wanted, "prod"))
    azure.fail = lambda method, at: None
    completed(lambda: deploying.destroy(wanted, "prod"))
    assert azure.things == {}


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
    azure: Arm, balancer: AzureBalancer, house: Path, versions: list[Trained]
) -> None:
    one, two = versions
    wanted = project(house, balancer)
    first = deploying.apply(wanted, "prod", path(one))
    started = two.bundle.manifest.short_version
    azure.console = "[   12.3] roadworthy: the bundle is refused\n"
    azure.healthy = lambda name: started not in name
    with pytest.raises(CheckFailed, match="callers still get what they got before") as caught:
        deploying.apply(wanted, "prod", path(two))
    assert "the bundle is refused" in str(caught.value)
    kept = Path(str(caught.value.where))
    assert (kept / "verdict.json").exists()
    assert list(kept.glob("*.console"))
    assert deploying.status(wanted, "prod").serving == first.release
    assert sizes(azure) == [0, 2]
    # it answers, and is another version than it says
    azure.healthy = lambda name: True
    right, balancer.servers[started] = (
        balancer.servers[started], balancer.servers[one.bundle.manifest.short_version]
    )  # fmt: skip
    with pytest.raises(CheckFailed, match=r"is not reached|does not pass"):
        deploying.apply(project(house, balancer, start_seconds=5), "prod", path(two))
    balancer.servers[started] = right
    assert deploying.status(wanted, "prod").serving == first.release
    deploying.apply(wanted, "prod", path(two))
    assert sizes(azure) == [0, 2]


def test_releases_beyond_those_that_are_kept_are_removed_with_their_archives(
    azure: Arm, balancer: AzureBalancer, house: Path, versions: list[Trained]
) -> None:
    one, two = versions
    deploying.apply(project(house, balancer), "prod", path(one))
    deploying.apply(project(house, balancer), "prod", path(two))
    larger = project(house, balancer, size="Standard_B2ms")
    planned = deploying.plan(larger, "prod", path(two))
    removed = [each for each in planned.steps if each.change == "delete"]
    assert len(removed) == 5  # with two alarms of its machines
    places = [each.document.get("path") or each.document["blob"] for each in removed]
    assert all(one.bundle.manifest.short_version in each for each in places)
    deploying.apply(larger, "prod", path(two))
    assert sizes(azure) == [0, 2]
    assert len(azure.stored) == 2
    assert deploying.apply(larger, "prod", path(two)).changes == ()


def test_what_was_changed_by_hand_is_seen_and_mended(
    azure: Arm, balancer: AzureBalancer, house: Path, versions: list[Trained]
) -> None:
    wanted = project(house, balancer)
    deploying.apply(wanted, "prod", path(versions[0]))
    (firewall,) = of(azure, "networkSecurityGroups")
    firewall["properties"]["securityRules"].pop()
    store = next(each for each in of(azure, "storageAccounts"))
    store["properties"]["allowBlobPublicAccess"] = True
    (gateway,) = of(azure, "applicationGateways")
    gateway["properties"]["sslPolicy"]["policyName"] = "AppGwSslPolicy20150501"
    (scaling,) = of(azure, "autoscaleSettings")
    scaling["properties"]["profiles"][0]["capacity"]["maximum"] = "50"
    planned = {
        each.id: each.what for each in deploying.plan(wanted, "prod", path(versions[0])).changes
    }
    assert "rest: absent" in planned.pop("azure-firewall")
    assert "allowBlobPublicAccess: True" in planned.pop("azure-releases")
    assert "AppGwSslPolicy20150501" in planned.pop("azure-gateway")
    ((name, scaled),) = planned.items()
    assert name.startswith("azure-scaling-")
    assert "50" in scaled
    deploying.apply(wanted, "prod", path(versions[0]))
    assert deploying.plan(wanted, "prod", path(versions[0])).changes == ()
    assert deploying.status(wanted, "prod").details["healthy"] == 2


def test_a_trial_that_was_cut_off_is_seen_and_ended(
    azure: Arm, balancer: AzureBalancer, house: Path, versions: list[Trained]
) -> None:
    one, two = versions
    wanted = project(house, balancer)
    first = deploying.apply(wanted, "prod", path(one))
    sent: list[str] = []

    def fail(method: str, at: str) -> Fault | None:
        if method != "PUT" or "/applicationGateways/" not in at:
            return None
        sent.append(at)
        return None if len(sent) < 3 else "denied"  # the pool, the trial, and then it ends

    azure.fail = fail
    with pytest.raises(OutsideError, match="does not permit"):
        deploying.apply(wanted, "prod", path(two))
    azure.fail = lambda method, at: None
    assert deploying.status(wanted, "prod").serving == first.release
    back = deploying.apply(wanted, "prod", path(one))
    assert [each.id for each in back.changes if each.change == "create"] == ["switch", "drain"]
    assert sizes(azure)[-1] == 2
    assert deploying.apply(wanted, "prod", path(one)).changes == ()


def test_the_machines_may_read_releases_and_nobody_reaches_them_but_the_gateway(
    azure: Arm, balancer: AzureBalancer, house: Path, versions: list[Trained]
) -> None:
    deploying.apply(project(house, balancer), "prod", path(versions[0]))
    (made,) = of(azure, "virtualMachineScaleSets")
    machine = made["properties"]["virtualMachineProfile"]
    assert made["zones"] == ["1", "2", "3"]
    (interface,) = machine["networkProfile"]["networkInterfaceConfigurations"]
    (place,) = interface["properties"]["ipConfigurations"]
    assert "publicIPAddressConfiguration" not in place["properties"]
    told = base64.b64decode(machine["osProfile"]["customData"])
    assert len(told) <= 16_384
    (archive,) = azure.stored.values()
    assert hashlib.sha256(archive).hexdigest().encode() in told
    identity = next(
        each for each in of(azure, "userAssignedIdentities")
        if each["id"] in made["identity"]["userAssignedIdentities"]
    )  # fmt: skip
    rights = {
        each["properties"]["principalId"]: each for each in of(azure, "roleAssignments")
    }  # fmt: skip
    assert rights.keys() == {identity["properties"]["principalId"], OWNER}
    mine = rights[identity["properties"]["principalId"]]
    assert "/containers/releases/" in mine["id"]
    assert mine["properties"]["roleDefinitionId"].endswith("2a2b9908-6ea1-4ae2-8e65-a410df84e7d1")
    (firewall,) = of(azure, "networkSecurityGroups")
    rules = [each["properties"] for each in firewall["properties"]["securityRules"]]
    assert [(each["access"], each["sourceAddressPrefix"]) for each in rules] == [
        ("Allow", "10.83.1.0/24"), ("Deny", "*")
    ]  # fmt: skip


def test_a_machine_fetches_the_archive_with_its_token(
    azure: Arm, balancer: AzureBalancer, house: Path, versions: list[Trained], tmp_path: Path
) -> None:
    deploying.apply(project(house, balancer), "prod", path(versions[0]))
    ((name, archive),) = azure.stored.items()
    asked: list[tuple[str, str]] = []

    class Cloud(http.server.BaseHTTPRequestHandler):
        """The metadata of a machine, and a store that takes its token alone."""

        def do_GET(self) -> None:
            asked.append((self.path, self.headers.get("Authorization", "")))
            content = archive
            if "/metadata/" in self.path:
                assert self.headers["Metadata"] == "true"
                content = json.dumps({"access_token": "of-the-machine"}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Cloud) as cloud:
        threading.Thread(target=cloud.serve_forever, daemon=True).start()
        host = f"http://127.0.0.1:{cloud.server_port}"
        environment = {**os.environ, "AZURE_POD_IDENTITY_AUTHORITY_HOST": host}
        subprocess.run(
            [sys.executable, fetching.__file__, f"{host}{name}", str(tmp_path / "got"), "/me"],
            env=environment, check=True, timeout=120,
        )  # fmt: skip
        cloud.shutdown()
    assert (tmp_path / "got").read_bytes() == archive
    told = urllib.parse.parse_qs(urllib.parse.urlsplit(asked[0][0]).query)
    assert told["mi_res_id"] == ["/me"]
    assert asked[1][1] == "Bearer of-the-machine"
    with tarfile.open(tmp_path / "got") as opened:
        assert "run.sh" in opened.getnames()


def rung(azure: Arm) -> dict[str, dict[str, dict[str, Any]]]:
    """Name of what alarms are about -> alarm -> its criterion."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for each in of(azure, "metricAlerts"):
        (scope,) = each["properties"]["scopes"]
        (criterion,) = each["properties"]["criteria"]["allOf"]
        found.setdefault(scope.rpartition("/")[2], {})[criterion["name"]] = criterion
    return found


def test_alarms_go_by_what_the_gateway_counts_and_what_each_machine_uses(
    azure: Arm, balancer: AzureBalancer, house: Path, versions: list[Trained]
) -> None:
    wanted = project(house, balancer, notify=("ops@example.org",))
    done = deploying.apply(wanted, "prod", path(versions[0]))
    (told,) = of(azure, "actionGroups")
    assert all(
        each["properties"]["actions"] == [{"actionGroupId": told["id"]}]
        for each in of(azure, "metricAlerts")
    )
    found = rung(azure)
    gateway, machines = found.pop("roadworthy-prod"), found.pop(f"rw-{done.release}")
    assert found == {}
    assert set(gateway) == {"down", "errors", "latency", "no_traffic"}
    assert gateway["latency"]["threshold"] == 500
    assert gateway["errors"]["dimensions"] == []
    assert {
        name: (each["metricName"], each["operator"], each["threshold"])
        for name, each in machines.items()
    } == {
        "cpu": ("Percentage CPU", "GreaterThan", 90),
        "memory": ("Available Memory Percentage", "LessThan", pytest.approx(10)),
    }
    each_machine = [{"name": "VMName", "operator": "Include", "values": ["*"]}]
    assert all(each["dimensions"] == each_machine for each in machines.values())
    order = [each.id for each in done.changes]
    assert order.index(f"azure-alarm-memory-{done.release}") < order.index("try")


def test_alarms_of_machines_come_and_go_with_their_release(
    azure: Arm, balancer: AzureBalancer, house: Path, versions: list[Trained]
) -> None:
    one, two = versions
    wanted = project(house, balancer, notify=("ops@example.org",))
    first = deploying.apply(wanted, "prod", path(one))
    second = deploying.apply(wanted, "prod", path(two))
    machines = {f"rw-{each.release}" for each in (first, second)}
    assert rung(azure).keys() == {"roadworthy-prod", *machines}
    # a release that is gone back to has them still
    deploying.rollback(wanted, "prod")
    assert deploying.apply(wanted, "prod", path(one)).changes == ()
    # what is not wanted any more goes with every release, also those that are kept
    off = {"memory": AlarmOptions(on=False)}
    without = wanted.override("monitor", alarms=off)
    gone = deploying.apply(without, "prod", path(one)).changes
    assert {each.id for each in gone if each.change == "delete"} == {
        f"azure-metricAlerts-{each}-memory" for each in machines
    }
    assert all(rung(azure)[each].keys() == {"cpu"} for each in machines)
    assert deploying.apply(without, "prod", path(one)).changes == ()
    quiet = project(house, balancer, alarms=False)
    gone = deploying.apply(quiet, "prod", path(one)).changes
    assert {each.change for each in gone} == {"delete"}
    assert of(azure, "metricAlerts") == of(azure, "actionGroups") == []
    assert deploying.apply(quiet, "prod", path(one)).changes == ()
    assert azure.refused == []


def test_the_certificate_is_read_by_the_gateway_alone_and_its_right_goes_with_it(
    azure: Arm, balancer: AzureBalancer, house: Path, versions: list[Trained]
) -> None:
    azure.things[VAULTS.lower()] = {
        "id": VAULTS, "name": "keys", "type": "Microsoft.Resources/resourceGroups",
        "location": "westeurope", "tags": {}, "properties": {},
    }  # fmt: skip
    wanted = project(house, balancer, certificate=SECRET, domain="api.example.org")
    section = wanted.deploy["prod"]
    assert isinstance(section, AzureSection)
    account = Account(SUBSCRIPTION, Person(), section.place, azure.url, pause=0)
    from roadworthy.deploy.azure.resource import Naming

    one = FleetProvider(Naming(SUBSCRIPTION, "prod", "adult"), section, wanted, account)
    with one.lock():
        one.observe()
        for step in one.steps():
            one.perform(step)
    (gateway,) = of(azure, "applicationGateways")
    (key,) = gateway["properties"]["sslCertificates"]
    assert key["properties"]["keyVaultSecretId"] == "https://ours.vault.azure.net/secrets/api"
    assert gateway["properties"]["httpListeners"][0]["properties"]["protocol"] == "Https"
    (right,) = [each for each in of(azure, "roleAssignments") if SECRET in each["id"]]
    identity = next(
        each for each in of(azure, "userAssignedIdentities") if each["name"].endswith("-gateway")
    )
    assert right["properties"]["principalId"] == identity["properties"]["principalId"]
    assert azure.refused == []
    found = one.observe()
    assert all(found.steps.values())
    assert found.surplus == ()
    for step in one.removal():
        one.perform(step)
    assert list(azure.things) == [VAULTS.lower()]


def test_the_log_of_the_machines_is_read_from_their_consoles(
    azure: Arm, balancer: AzureBalancer, house: Path, versions: list[Trained]
) -> None:
    wanted = project(house, balancer)
    with pytest.raises(InputError, match="nothing is deployed"):
        list(deploying.logs(wanted, "prod", 2))
    deploying.apply(wanted, "prod", path(versions[0]))
    azure.console = "first\nsecond\nthird\n"
    lines = list(deploying.logs(wanted, "prod", 2))
    assert [each.split(" ", 1)[1] for each in lines] == ["second", "third"] * 2


def test_a_pipeline_may_write_releases_of_its_fleet(
    azure: Arm, balancer: AzureBalancer, house: Path, versions: list[Trained]
) -> None:
    ci = Ci(system="github", repository="owner/repo", branch="main")
    deploying.apply(project(house, balancer, ci=ci), "prod", path(versions[0]))
    writers = [
        each for each in of(azure, "roleAssignments")
        if each["properties"]["roleDefinitionId"].endswith("ba92f5b4-2d11-453d-a403-e96b0029c9fe")
    ]  # fmt: skip
    assert len(writers) == 2
    deploying.destroy(project(house, balancer, ci=ci), "prod")
    assert azure.things == {}


def test_status_of_a_fleet_says_what_the_registry_is_and_what_a_pipeline_signs_in_by(
    azure: Arm, balancer: AzureBalancer, house: Path, versions: list[Trained]
) -> None:
    ci = Ci(system="github", repository="acme/churn", environment="production")
    beside = {"database": "Standard_B1ms", "database_from": ("192.0.2.0/24",)}
    wanted = project(house, balancer, ci=ci, **beside)
    done = deploying.apply(wanted, "prod", path(versions[0]))
    assert {*PARTS, "azure-ci", "azure-ci-trust"} <= {each.id for each in done.changes}
    assert deploying.apply(wanted, "prod", path(versions[0])).changes == ()
    details = deploying.status(wanted, "prod").details
    assert details["registry"]["store"] == "az://models"
    assert details["AZURE_SUBSCRIPTION_ID"] == SUBSCRIPTION
    assert details["AZURE_CLIENT_ID"]
    assert "machine" not in details
    alone = project(house, balancer)
    planned = deploying.plan(alone, "prod", path(versions[0])).changes
    assert {each.change for each in planned} == {"delete"}
    deploying.apply(alone, "prod", path(versions[0]))
    assert not any(key.startswith((DATABASE, STORE)) for key in azure.things)
    details = deploying.status(alone, "prod").details
    assert details["registry"] == {}
    assert "AZURE_CLIENT_ID" not in details
    assert sizes(azure) == [2]
    deploying.destroy(alone, "prod")
    assert azure.things == {}


def test_destroy_leaves_what_others_made(
    azure: Arm, balancer: AzureBalancer, house: Path, versions: list[Trained]
) -> None:
    deploying.apply(project(house, balancer), "prod", path(versions[0]))
    theirs = f"{GROUP}/providers/Microsoft.Network/publicIPAddresses/theirs"
    azure.things[theirs.lower()] = {
        "id": theirs, "name": "theirs", "type": "Microsoft.Network/publicIPAddresses",
        "location": "westeurope", "tags": {DEPLOYMENT: "other"}, "properties": {},
    }  # fmt: skip
    deploying.destroy(project(house, balancer), "prod")
    assert list(azure.things) == [GROUP.lower(), theirs.lower()]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("instances = {min = 3, max = 2}", "instances.min"),
        ('instances = {}\nsecrets = ["A"]', "secrets"),
        ('instances = {}\nallow_from = ["192.0.2.0/24"]', "allow_from"),
        ('instances = {}\ndomain = "api.example.org"', "certificate"),
        ('instances = {}\nzones = ["4"]', "zones"),
        ("instances = {}\nkeep = 9", "keep"),
        (f'certificate = "{SECRET}"\nidentity = "k"', "ssh_from"),
    ],
)
def test_what_a_fleet_cannot_have_is_said(tmp_path: Path, line: str, said: str) -> None:
    place = tmp_path / "roadworthy.toml"
    place.write_text(f'[deploy.prod]\ntarget = "azure"\nregion = "westeurope"\n{line}\n')
    with pytest.raises(ProjectError, match=said):
        load_project(place)
