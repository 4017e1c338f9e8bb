"""The provider for Azure, against a strict Resource Manager over TLS."""

from __future__ import annotations

import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from azure.core.credentials import AccessToken, AccessTokenInfo

from roadworthy.deploy.azure.account import Account
from roadworthy.deploy.azure.provider import AzureProvider, open_azure
from roadworthy.deploy.azure.resource import Naming
from roadworthy.deploy.azure.wanted import machine_of
from roadworthy.deploy.cloud.provider import DEPLOYMENT, PART
from roadworthy.deploy.deploying import plan_destroy, status
from roadworthy.deploy.plan import Step, redone
from roadworthy.errors import InputError, OutsideError, RoadworthyError
from roadworthy.project import AzureSection, Project
from tests.deploy.azure.arm_server import SUBSCRIPTION, Arm, Fault, arm_server

GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/roadworthy-prod"
MACHINE = f"{GROUP}/providers/Microsoft.Compute/virtualMachines/roadworthy-prod"
PARTS = ["azure-group", "azure-network", "azure-firewall", "azure-address", "azure-interface",
         "azure-machine", "azure-notices", "azure-alarm-cpu", "azure-alarm-memory",
         "azure-dashboard"]  # fmt: skip


class Token:
    """A credential whose token the server takes."""

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        return AccessToken("token", int(time.time()) + 3600)

    def get_token_info(self, *scopes: str, **_: Any) -> AccessTokenInfo:
        return AccessTokenInfo("token", int(time.time()) + 3600)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arm]:
    with arm_server(tmp_path_factory.mktemp("arm")) as running:
        yield running


@pytest.fixture
def arm(server: Arm, monkeypatch: pytest.MonkeyPatch) -> Arm:
    server.things.clear()
    server.calls.clear()
    server.refused.clear()
    server.fail, server.console = (lambda method, path: None), ""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.ca))
    monkeypatch.setattr("roadworthy.deploy.azure.lock._SETTLING", 0)
    monkeypatch.setattr("roadworthy.deploy.azure.provider._PAUSE", 0)
    return server


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = tmp_path_factory.mktemp("key") / "identity"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(place)], check=True)
    return str(place)


def section(identity: str, **values: Any) -> AzureSection:
    given = {"region": "westeurope", "ssh_from": ("192.0.2.0/24",), **values}
    return AzureSection(identity=identity, **given)


def provider(arm: Arm, wanted: AzureSection, name: str = "prod") -> AzureProvider:
    account = Account(SUBSCRIPTION, Token(), wanted.place, arm.url, pause=0)
    return AzureProvider(Naming(SUBSCRIPTION, name, "adult"), wanted, Project(), account)


def apply(one: AzureProvider) -> list[str]:
    """What `deploy apply` does with the infrastructure."""
    with one.lock():
        found = one.observe()
        steps = redone(one.steps(), found.steps)
        todo = [step for step in steps if step.change == "create"] + list(found.surplus)
        for step in todo:
            one.perform(step)
    return [step.id for step in todo]


def destroy(one: AzureProvider) -> list[Step]:
    with one.lock():
        todo = list(one.removal())
        for step in todo:
            one.perform(step)
    return todo


def completed(run: Any) -> int:
    """Run until it completes; how often that was."""
    for number in range(1, 60):
        try:
            run()
        except RoadworthyError as error:
            assert error.fix  # noqa: PT017
        else:
            return number
    raise AssertionError("it never completed")


def test_a_machine_with_all_it_needs_is_made_once(arm: Arm, identity: str) -> None:
    one = provider(arm, section(identity))
    assert one.observe().machine is None
    assert apply(one) == PARTS[1:]  # the lock has made the group
    assert apply(provider(arm, section(identity))) == []
    assert arm.refused == []
    machine = one.observe().machine
    assert machine is not None
    assert (machine.address, machine.user) == ("203.0.113.10", "roadworthy")
    made = arm.things[MACHINE.lower()]["properties"]
    assert made["osProfile"]["linuxConfiguration"]["disablePasswordAuthentication"]
    assert made["securityProfile"]["securityType"] == "TrustedLaunch"
    assert made["storageProfile"]["osDisk"]["diskSizeGB"] == 30
    ours = [each for each in arm.things.values() if each.get("tags", {}).get(PART)]
    assert all(each["tags"][DEPLOYMENT] == "prod" for each in ours)
    assert len(ours) == len(PARTS)


@pytest.mark.parametrize("fault", ["cut before", "cut after", "fault", "throttled", "denied"])
def test_a_failure_at_every_call_leaves_nothing_double_and_a_rerun_completes(
    arm: Arm, identity: str, fault: Fault
) -> None:
    seen: set[tuple[str, str]] = set()

    def fail(method: str, path: str) -> Fault | None:
        key = method, path
        if method == "GET" or key in seen:
            return None
        seen.add(key)
        return fault

    arm.fail = fail
    tries = completed(lambda: apply(provider(arm, section(identity))))
    made = sorted(arm.things)
    arm.fail = lambda method, path: None
    assert apply(provider(arm, section(identity))) == []
    assert sorted(arm.things) == made
    assert len(made) == len(PARTS) + 1  # and the machine's disk
    if fault in ("fault", "throttled"):  # sent again at once
        assert tries == 1
    seen.clear()
    arm.fail = fail
    completed(lambda: destroy(provider(arm, section(identity))))
    assert arm.things == {}


def test_destroy_takes_what_carries_the_tag_and_leaves_what_others_put_there(
    arm: Arm, identity: str
) -> None:
    apply(provider(arm, section(identity)))
    apply(provider(arm, section(identity), "other"))
    foreign = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/theirs"
    arm.things[foreign.lower()] = {"id": foreign, "name": "theirs", "properties": {},
                                   "type": "Microsoft.Storage/storageAccounts"}  # fmt: skip
    gone = f"{GROUP}/providers/Microsoft.Network/publicIPAddresses/gone"
    others = [key for key in arm.things if "roadworthy-other" in key]
    steps = destroy(provider(arm, section(identity)))
    assert len(steps) == len(PARTS)
    assert sorted(arm.things) == sorted([*others, GROUP.lower(), foreign.lower()])
    assert arm.things[GROUP.lower()]["tags"] == {}
    with pytest.raises(InputError, match="was not made by Roadworthy"):
        destroy(provider(arm, section(identity)))
    del arm.things[foreign.lower()], arm.things[GROUP.lower()]
    apply(provider(arm, section(identity)))
    arm.listed_late = [{"id": gone, "name": "gone", "type": "Microsoft.Network/publicIPAddresses"}]
    destroy(provider(arm, section(identity)))  # lists still show what has just gone
    assert GROUP.lower() not in arm.things
    arm.listed_late = []
    assert destroy(provider(arm, section(identity))) != []  # the group that the lock made
    assert GROUP.lower() not in arm.things


def test_what_was_changed_by_hand_is_seen_and_mended(arm: Arm, identity: str) -> None:
    apply(provider(arm, section(identity)))
    firewall = f"{GROUP}/providers/Microsoft.Network/networkSecurityGroups/roadworthy-prod".lower()
    rules = arm.things[firewall]["properties"]["securityRules"]
    rules.append({"name": "postgres", "properties": {}})
    rules[0]["properties"]["sourceAddressPrefix"] = "0.0.0.0/0"
    arm.things[MACHINE.lower()]["properties"]["power"] = "deallocated"
    arm.things[MACHINE.lower()]["properties"]["hardwareProfile"]["vmSize"] = "Standard_D2s_v3"
    alarm = f"{GROUP}/providers/Microsoft.Insights/metricAlerts/roadworthy-prod-cpu".lower()
    arm.things[alarm]["properties"]["enabled"] = False
    found = provider(arm, section(identity)).observe()
    assert found.differences == {
        "azure-firewall": found.differences["azure-firewall"],
        "azure-machine": "properties.hardwareProfile.vmSize: Standard_D2s_v3, it is deallocated",
        "azure-alarm-cpu": "properties.enabled: False",
    }
    assert "postgres: not wanted" in found.differences["azure-firewall"]
    assert "0.0.0.0/0" in found.differences["azure-firewall"]
    assert set(apply(provider(arm, section(identity)))) == set(found.differences)
    assert apply(provider(arm, section(identity))) == []
    assert arm.things[MACHINE.lower()]["properties"]["power"] == "running"


def test_an_orphan_is_listed_and_removed(arm: Arm, identity: str) -> None:
    apply(provider(arm, section(identity, notify=("ops@example.org",))))
    assert any("actiongroups" in key for key in arm.things)
    quiet = provider(arm, section(identity, alarms=False))
    assert {step.id for step in quiet.observe().surplus} == {
        "azure-metricAlerts-roadworthy-prod-cpu", "azure-metricAlerts-roadworthy-prod-memory",
        "azure-actionGroups-roadworthy-prod",
        f"azure-workbooks-{uuid.uuid5(uuid.NAMESPACE_URL, f'{GROUP.lower()}/dashboard')}",
    }  # fmt: skip
    assert len(apply(quiet)) == 4
    assert not any("insights" in key for key in arm.things)
    assert apply(quiet) == []


def test_a_subnet_of_your_own_is_used_and_never_removed(arm: Arm, identity: str) -> None:
    group = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/net"
    network = f"{group}/providers/Microsoft.Network/virtualNetworks/v"
    arm.things[network.lower()] = {
        "id": network, "type": "Microsoft.Network/virtualNetworks", "name": "v",
        "properties": {"subnets": [{"name": "s"}]},
    }  # fmt: skip
    wanted = section(identity, subnet=f"{network}/subnets/s")
    assert "azure-network" not in apply(provider(arm, wanted))
    destroy(provider(arm, wanted))
    assert list(arm.things) == [network.lower()]


def test_every_deployment_of_the_subscription_is_listed_with_its_parts(
    arm: Arm, identity: str
) -> None:
    apply(provider(arm, section(identity)))
    apply(provider(arm, section(identity, alarms=False), "forgotten"))
    apply(provider(arm, section(identity, region="northeurope"), "elsewhere"))
    theirs = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/theirs"
    arm.things[theirs.lower()] = {"id": theirs, "tags": {}}
    found = {each.deployment: each for each in provider(arm, section(identity), "new").tenants()}
    assert set(found) == {"prod", "forgotten"}
    assert found["prod"].model == "adult"
    assert MACHINE in found["prod"].parts
    assert all("roadworthy-forgotten" in each for each in found["forgotten"].parts)


@pytest.mark.parametrize(
    ("fault", "said", "fix"),
    [
        ("denied", "does not permit Microsoft.Network/virtualNetworks/write", "Contributor"),
        ("quota", "quota of Azure is used up", "Quotas"),
    ],
)
def test_a_refusal_names_the_permission_or_the_quota(
    arm: Arm, identity: str, fault: Fault, said: str, fix: str
) -> None:
    arm.fail = lambda method, path: (
        fault if method == "PUT" and "virtualnetworks" in path.lower() else None
    )
    with pytest.raises(OutsideError, match=said) as caught:
        apply(provider(arm, section(identity)))
    assert fix in str(caught.value.fix)
    assert arm.things == {}  # nothing was made, so the group is not left either


def test_missing_credentials_a_missing_subscription_and_a_moved_region_are_said(
    arm: Arm, identity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AZURE_SUBSCRIPTION_ID", raising=False)
    with pytest.raises(InputError, match="no subscription is named"):
        open_azure(Project(), "prod", section(identity), "adult")
    for name in ("AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_TENANT_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    nobody = open_azure(Project(), "prod", section(identity, subscription=SUBSCRIPTION), "adult")
    with pytest.raises(OutsideError, match="no usable Azure credentials") as caught:
        nobody.observe()
    assert "az login" in str(caught.value.fix)
    apply(provider(arm, section(identity)))
    with pytest.raises(InputError, match="another location") as moved:
        apply(provider(arm, section(identity, region="northeurope")))
    assert "destroy" in str(moved.value.fix)


def test_another_key_is_refused_with_what_to_do(arm: Arm, identity: str, tmp_path: Path) -> None:
    apply(provider(arm, section(identity)))
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
    with pytest.raises(RoadworthyError, match="PropertyChangeNotAllowed") as caught:
        apply(provider(arm, section(str(other))))
    assert "make it anew" in str(caught.value.fix)


def test_two_deployments_of_a_name_are_kept_apart(arm: Arm, identity: str) -> None:
    apply(provider(arm, section(identity)))
    tags = arm.things[GROUP.lower()]["tags"]
    with provider(arm, section(identity)).lock():
        assert tags["roadworthy-lock"]
        with (
            pytest.raises(OutsideError, match="another deployment is at work"),
            provider(arm, section(identity)).lock(),
        ):
            pass
    assert "roadworthy-lock" not in tags
    tags["roadworthy-lock"] = "elsewhere/77/1/abc"
    with (
        pytest.raises(OutsideError, match="elsewhere, process 77"),
        provider(arm, section(identity)).lock(),
    ):
        pass
    assert tags["roadworthy-lock"] == "elsewhere/77/1/abc"


def test_host_keys_come_from_the_console_without_our_token_and_are_kept_with_the_machine(
    arm: Arm, identity: str
) -> None:
    one = provider(arm, section(identity))
    apply(one)
    key = Path(f"{identity}.pub").read_text().rsplit(" ", 1)[0]
    assert one.observe().machine.host_keys == ()  # type: ignore[union-attr]
    arm.console = (
        "cloud-init[500]: ci-info\r\n-----BEGIN SSH HOST KEY KEYS-----\r\n"
        f"ecdsa-sha2-nistp256 {'A' * 80}= root@host\r\n{key} root@host\r\n"
        "-----END SSH HOST KEY KEYS-----\r\n"
    )
    machine = one.observe().machine
    assert machine is not None
    assert not machine.pinned
    assert key in machine.host_keys
    one.pin(machine.host_keys)
    arm.console = ""
    again = provider(arm, section(identity)).observe()
    assert again.machine is not None
    assert again.machine.pinned
    assert again.machine.host_keys == (key,)
    assert all(again.steps.values())  # a tag more is no difference
    larger = provider(arm, section(identity, size="Standard_B2ms"))
    assert apply(larger) == ["azure-machine"]
    kept = larger.observe().machine
    assert kept is not None
    assert kept.pinned


def test_a_size_of_arm_processors_gets_its_image(arm: Arm, identity: str) -> None:
    apply(provider(arm, section(identity, size="Standard_D2ps_v5")))
    made = arm.things[MACHINE.lower()]["properties"]
    assert made["storageProfile"]["imageReference"]["sku"] == "12-arm64"
    kinds = {"Standard_D2ps_v5": "aarch64", "Standard_B2pts_v2": "aarch64",
             "Standard_D4pls_v5": "aarch64", "Standard_E2pds_v5": "aarch64",
             "Standard_B2s": "x86_64", "Standard_D2s_v3": "x86_64", "Standard_D2ads_v5": "x86_64",
             "Standard_NC4as_T4_v3": "x86_64", "Standard_E4-2ds_v5": "x86_64"}  # fmt: skip
    assert {each: machine_of(each) for each in kinds} == kinds


def test_the_server_refuses_what_azure_would(arm: Arm, identity: str) -> None:
    one = provider(arm, section(identity))
    apply(one)
    wrong = {
        "Could not find member": {"hardwareProfil": {}},
        "expected str": {"hardwareProfile": {"vmSize": 2}},
        "is not one of": {"priority": "Urgent"},
        "was not found": {"networkProfile": {"networkInterfaces": [{"id": f"{MACHINE}x"}]}},
    }
    body = one.parts["azure-machine"].body
    for said, change in wrong.items():
        changed = {**body, "properties": {**body["properties"], **change}}
        with pytest.raises(InputError, match=said):
            one.account.change("PUT", MACHINE, "2024-11-01", changed)
    with pytest.raises(InputError, match="could not be found for the version"):
        one.account.change("PUT", MACHINE, "1900-01-01", body)
    with pytest.raises(OutsideError, match="in use"):
        one.account.change("DELETE", one.parts["azure-interface"].path, "2024-05-01")


def test_steps_are_plain_data_with_a_command_line_and_a_price(arm: Arm, identity: str) -> None:
    steps = provider(arm, section(identity)).steps()
    assert arm.calls == []  # pure
    assert [step.id for step in steps] == PARTS
    assert "PRIVATE" not in msgspec.json.encode(steps).decode()
    machine = next(step for step in steps if step.id == "azure-machine")
    assert machine.price is not None
    assert machine.price.monthly == round(0.048 * 730 + 0.075 * 30, 2)
    assert machine.command.startswith("az rest --method put --url 'https://management.azure.com/")


def test_the_verbs_find_the_provider_by_the_section(
    arm: Arm, identity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply(provider(arm, section(identity)))
    arm.things[MACHINE.lower()]["properties"]["power"] = "stopped"
    monkeypatch.setattr("azure.identity.DefaultAzureCredential", Token)
    monkeypatch.setattr(
        "roadworthy.deploy.azure.provider.Account",
        lambda *given: Account(*given, endpoint=arm.url, pause=0),
    )
    project = Project(deploy={"prod": section(identity, subscription=SUBSCRIPTION)})
    said = status(project, "prod")
    assert (said.ready, said.place) == (False, "azure westeurope")
    assert said.details["machine"] == "stopped"
    planned = plan_destroy(project, "prod")
    assert [step.change for step in planned.steps] == ["delete"] * len(PARTS)
    assert planned.steps[-1].document["path"] == GROUP
    assert planned.model == "adult"
