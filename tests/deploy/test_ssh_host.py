"""A real Debian host, deployed to by SSH: swapped under load, broken in every way, rolled back."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from roadworthy.deploy import deploying
from roadworthy.deploy.plan import Step
from roadworthy.deploy.ssh.target import SshTarget
from roadworthy.errors import CheckFailed, InputError, OutsideError
from roadworthy.project import Project
from roadworthy.registry.opening import open_registry
from tests.conftest import Trained
from tests.deploy.conftest import Load, ssh_project
from tests.deploy.hosts import Host
from tests.deploy.test_wanted import certificate
from tests.serve.test_http import wait_for

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def project(house: Path, host: Host) -> Project:
    return ssh_project(house, host, secrets=("SERVER_TOKEN",), keep=3)


@pytest.fixture(scope="module")
def deployed(project: Project, versions: list[Trained], untouched: set[str]) -> Project:
    """The first version, after a deployment of both that was cut off at every step.

    The first is cut off before every other step and after those in between, the second the other
    way round. Wheels are all alike: one of them stands for the rest.
    """
    cut_everywhere(project, path(versions[1]), before=0)
    cut_everywhere(project, path(versions[0]), before=1)
    return project


def cut_everywhere(project: Project, model: str, before: int) -> None:
    original = SshTarget.perform
    cut: list[str] = []

    def perform(self: SshTarget, step: Step) -> None:
        alike = step.id.startswith("wheel-") and any(each.startswith("wheel-") for each in cut)
        if step.id in cut or alike:
            return original(self, step)
        cut.append(step.id)
        if len(cut) % 2 == before:
            original(self, step)
        raise OutsideError(f"cut off at {step.id}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SshTarget, "perform", perform)
        for _ in range(60):
            with contextlib.suppress(OutsideError):
                deploying.apply(project, "prod", model)
                break
        else:
            raise AssertionError("it never completed")
    assert {"verify", "start", "accept", "switch"} <= set(cut)


@pytest.fixture(scope="module")
def untouched(host: Host) -> set[str]:
    """What is on the host before anything is deployed, but for what packages bring."""
    return own(host)


def own(host: Host) -> set[str]:
    """Everything on the host that carries our name."""
    found = host.ssh(
        "ls -d /opt/* /etc/roadworthy* /var/lib/roadworthy* /run/roadworthy* /home/* 2>/dev/null; "
        "find /etc/systemd /etc/tmpfiles.d /etc/sysusers.d -name '*roadworthy*'; "
        "grep -o '^roadworthy[^:]*' /etc/passwd /etc/group; "
        # systemd forgets a unit that is gone some time after it was asked for it
        "systemctl list-units --all --plain --no-legend 'roadworthy*' | grep -v ' not-found '; "
        "nft list tables 2>/dev/null; true"
    )
    return set(found.stdout.splitlines())


def path(trained: Trained) -> str:
    return str(trained.bundle.path)


def version_that_answers(host: Host, trained: Trained) -> str:
    load = Load(host.address, trained.bundle.contract.example(), callers=1)
    with load.running():
        end = time.monotonic() + 30
        while not load.answers and not load.failures and time.monotonic() < end:
            time.sleep(0.05)
    assert not load.failures
    return next(iter(load.answers))


def test_what_failed_at_any_step_is_completed_by_running_it_again(
    deployed: Project, host: Host, versions: list[Trained]
) -> None:
    assert version_that_answers(host, versions[0]) == versions[0].bundle.version
    status = deploying.status(deployed, "prod")
    assert status.ready
    assert str(status.serving).startswith(versions[0].bundle.manifest.short_version)


def test_a_second_apply_does_nothing(deployed: Project, versions: list[Trained]) -> None:
    assert deploying.plan(deployed, "prod", path(versions[0])).changes == ()
    assert deploying.apply(deployed, "prod", path(versions[0])).changes == ()


def test_a_plan_shows_only_what_differs_and_changes_nothing(
    deployed: Project, versions: list[Trained]
) -> None:
    other = deployed.override("serve", max_rows=81)
    found = deploying.plan(other, "prod", path(versions[1]))
    changes = [step.id for step in found.changes]
    assert "packages" not in changes
    assert changes[-4:] == ["start", "accept", "switch", "drain"]
    assert all(step.command.startswith("ssh root@") for step in found.steps)
    assert deploying.plan(deployed, "prod", path(versions[0])).changes == ()


def test_no_request_is_lost_while_versions_are_swapped_and_rolled_back(
    deployed: Project, host: Host, versions: list[Trained]
) -> None:
    one, two = (each.bundle for each in versions)
    with Load(host.address, one.contract.example()).running() as load:
        deploying.apply(deployed, "prod", path(versions[1]))
        assert version_that_answers(host, versions[0]) == two.version
        deploying.rollback(deployed, "prod")
        assert version_that_answers(host, versions[0]) == one.version
    assert load.failures == []
    assert set(load.answers) == {one.version, two.version}
    assert sum(load.answers.values()) > 200


def test_a_release_that_fails_its_gates_never_reaches_callers_and_leaves_evidence(
    deployed: Project, host: Host, versions: list[Trained]
) -> None:
    strict = deployed.override("gates", accuracy=">= 0.999")
    # other settings make it another release, which is asked anew
    strict = strict.override("serve", max_rows=77)
    example = versions[0].bundle.contract.example()
    with (
        Load(host.address, example).running() as load,
        pytest.raises(CheckFailed, match="accuracy") as caught,
    ):
        deploying.apply(strict, "prod", path(versions[1]))
    assert load.failures == []
    assert set(load.answers) == {versions[0].bundle.version}
    folder = str(caught.value.where).partition(":")[2]
    kept = host.ssh(f"ls {folder}; cat {folder}/verdict.json {folder}/exit.txt").stdout
    assert {"log.txt", "exit.txt", "verdict.json"} <= set(kept.split())
    assert '"outcome": "fail"' in kept
    assert deploying.status(deployed, "prod").details["failed"]


def test_a_release_that_does_not_start_shows_its_log_and_exit_code(
    deployed: Project, host: Host, versions: list[Trained], monkeypatch
) -> None:
    broken = deployed.override("serve", jwks=str(Path(__file__)), jwt_audience="a", jwt_issuer="b")
    with pytest.raises(CheckFailed) as caught:
        deploying.apply(broken, "prod", path(versions[1]))
    assert "error:" in caught.value.what
    assert "ExecMainStatus=2" in caught.value.what
    assert version_that_answers(host, versions[0]) == versions[0].bundle.version


def test_a_bundle_that_was_changed_on_the_host_is_not_served(
    deployed: Project, host: Host, versions: list[Trained], monkeypatch
) -> None:
    original = SshTarget.perform

    def perform(self: SshTarget, step: Step) -> None:
        if step.id == "verify":
            folder = f"/opt/roadworthy/prod/releases/{self.wanted.release.id}"
            size = host.ssh(f"stat -c %s {folder}/model.rwb").stdout.strip()
            host.ssh(f"printf x | dd of={folder}/model.rwb bs=1 seek={int(size) // 2} conv=notrunc")
        original(self, step)

    monkeypatch.setattr(SshTarget, "perform", perform)
    changed = deployed.override("serve", max_rows=78)
    with pytest.raises(CheckFailed):
        deploying.apply(changed, "prod", path(versions[1]))
    assert version_that_answers(host, versions[0]) == versions[0].bundle.version


def test_the_service_is_hardened_and_its_secrets_are_in_no_process_list(
    deployed: Project, host: Host, house: Path
) -> None:
    serving = deploying.status(deployed, "prod").serving
    pid = host.ssh(f"systemctl show -p MainPID --value roadworthy-prod@{serving}").stdout.strip()
    facts = host.ssh(f"grep -E 'NoNewPrivs|CapEff|Uid' /proc/{pid}/status").stdout
    assert "NoNewPrivs:\t1" in facts
    assert "CapEff:\t0000000000000000" in facts
    assert "Uid:\t0" not in facts
    worker = host.ssh(f"pgrep -P {pid}").stdout.split()[0]
    assert "very-secret-value" in host.ssh(f"tr '\\0' '\\n' < /proc/{worker}/environ").stdout
    shown = host.ssh(
        "ps axww -o args; systemctl cat 'roadworthy*'; journalctl --no-pager; "
        "cat /opt/roadworthy/prod/releases/*/roadworthy.toml; "
        "cat /etc/roadworthy/prod/secrets/*; ls /etc/roadworthy/prod/secrets; "
        "stat -c '%a %U' /etc/roadworthy/prod/secrets/*.cred"
    ).stdout
    assert "very-secret-value" not in shown
    assert shown.splitlines()[-1] == "600 root"
    with open_registry(deployed) as registry:
        assert "very-secret" not in str(registry.history())
    journals = list((house / "data/roadworthy/deployments").iterdir())
    assert len(journals) == 1
    assert "very-secret" not in journals[0].read_text()


def test_only_ssh_and_the_public_port_are_let_through(deployed: Project, host: Host) -> None:
    host.ssh("systemd-run --quiet --unit=other python3 -m http.server 9000")
    ask = "import urllib.request as u; u.urlopen('http://127.0.0.1:9000')"
    wait_for(lambda: host.ssh(f'python3 -c "{ask}"', check=False).returncode == 0)
    with pytest.raises(OSError, match="timed out"):
        socket.create_connection((host.address, 9000), timeout=3)
    host.ssh("systemctl stop other")


def test_a_killed_server_is_replaced_and_answers_again(
    deployed: Project, host: Host, versions: list[Trained]
) -> None:
    serving = deploying.status(deployed, "prod").serving
    unit = f"roadworthy-prod@{serving}"
    before = host.ssh(f"systemctl show -p NRestarts --value {unit}").stdout
    host.ssh(f"systemctl kill -s KILL {unit}")
    end = time.monotonic() + 60
    # what the killed process held is lost; who comes after waits for the next one
    while host.ssh(f"systemctl show -p NRestarts --value {unit}").stdout == before:
        assert time.monotonic() < end
        time.sleep(0.1)
    status = 0
    while status != 200:
        assert time.monotonic() < end
        status = host.get("/readyz")[0]
    assert version_that_answers(host, versions[0]) == versions[0].bundle.version


def test_after_a_reboot_it_serves_again_by_itself(
    deployed: Project, host: Host, versions: list[Trained]
) -> None:
    host.reboot()
    end = time.monotonic() + 60
    status = 0
    while status != 200 and time.monotonic() < end:
        try:
            status = host.get("/readyz")[0]
        except OSError:
            time.sleep(0.2)
    assert version_that_answers(host, versions[0]) == versions[0].bundle.version
    # releases that failed in the tests above may still be there to be removed
    left = deploying.plan(deployed, "prod", path(versions[0])).changes
    assert {step.id for step in left} <= {"clean"}


def test_a_full_disk_stops_the_deployment_and_not_the_service(
    deployed: Project, host: Host, versions: list[Trained]
) -> None:
    host.ssh("dd if=/dev/zero of=/var/filler bs=1M 2>/dev/null; true")
    try:
        with pytest.raises(OutsideError, match="disk is full"):
            deploying.apply(deployed.override("serve", max_rows=79), "prod", path(versions[1]))
        assert version_that_answers(host, versions[0]) == versions[0].bundle.version
    finally:
        host.ssh("rm -f /var/filler")
    assert not host.ssh("find /opt/roadworthy -name '*.new'").stdout


def test_a_network_that_is_cut_is_said_and_the_same_call_goes_on_afterwards(
    deployed: Project, host: Host, versions: list[Trained], monkeypatch
) -> None:
    original = SshTarget.perform

    def perform(self: SshTarget, step: Step) -> None:
        if step.id == "release-model":
            host.cut()
        original(self, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SshTarget, "perform", perform)
        changed = deployed.override("serve", max_rows=80)
        with pytest.raises(OutsideError, match="cannot be reached"):
            deploying.apply(changed, "prod", path(versions[1]))
    host.mend()
    host.wait_for_ssh()
    deploying.apply(changed, "prod", path(versions[1]))
    assert version_that_answers(host, versions[0]) == versions[1].bundle.version
    deploying.rollback(deployed, "prod", versions[0].bundle.manifest.short_version)
    assert version_that_answers(host, versions[0]) == versions[0].bundle.version


def test_callers_are_spoken_to_by_tls_with_the_given_certificate_and_back(
    deployed: Project, host: Host, versions: list[Trained], tmp_path: Path
) -> None:
    chain, key = certificate(tmp_path)
    section = msgspec.structs.replace(
        deployed.deploy["prod"], tls_certificate=chain, tls_key=key, port=8443
    )
    secured = msgspec.structs.replace(deployed, deploy={"prod": section})
    changes = {each.id for each in deploying.apply(secured, "prod", path(versions[0])).changes}
    assert {"certificate", "proxy-settings", "firewall"} <= changes
    assert "start" not in changes
    shown = ssl.get_server_certificate((host.address, 8443))
    assert shown.split() == Path(chain).read_text().split()
    assert host.ssh("stat -c '%a %U' /etc/roadworthy/prod/tls/pair.pem").stdout.split() == [
        "640", "roadworthy-proxy",
    ]  # fmt: skip
    deploying.apply(deployed, "prod", path(versions[0]))
    assert version_that_answers(host, versions[0]) == versions[0].bundle.version


def test_an_unkept_release_cannot_be_rolled_back_to(deployed: Project) -> None:
    with pytest.raises(InputError, match="cannot be rolled back to") as caught:
        deploying.rollback(deployed, "prod", "ffff")
    assert "releases that are kept" in str(caught.value.fix)


def test_every_step_is_in_the_ledger_and_the_version_is_on_record(
    deployed: Project, versions: list[Trained], host: Host
) -> None:
    with open_registry(deployed) as registry:
        entries = registry.check_history()
        found = {each.version: each.targets for each in registry.versions()}
    assert found[versions[0].bundle.version] == (f"prod on root@{host.address}",)
    steps = [msgspec.json.decode(each.details) for each in entries if each.action == "step"]
    assert {"begun", "done", "failed"} == {each["state"] for each in steps}
    assert {"packages", "switch", "drain"} <= {each["step"] for each in steps}


def test_two_deployments_at_once_are_kept_apart(
    deployed: Project, versions: list[Trained], host: Host
) -> None:
    host.ssh("echo 'elsewhere/77/1/abc' > /run/roadworthy-prod.lock")
    try:
        with pytest.raises(OutsideError, match="another deployment is at work: elsewhere"):
            deploying.apply(deployed, "prod", path(versions[0]))
    finally:
        host.ssh("rm /run/roadworthy-prod.lock")
    program = "from roadworthy.registry.leases import holder; print(holder())"
    dead = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout
    host.ssh(f"echo '{dead.strip()}/abc' > /run/roadworthy-prod.lock")  # it is taken over
    assert deploying.apply(deployed, "prod", path(versions[0])).changes == ()
    assert host.ssh("test -e /run/roadworthy-prod.lock", check=False).returncode == 1


def test_a_user_who_may_run_sudo_can_deploy_too(
    deployed: Project, house: Path, host: Host, versions: list[Trained]
) -> None:
    section = msgspec.structs.replace(deployed.deploy["prod"], host=f"admin@{host.address}")
    by_admin = msgspec.structs.replace(deployed, deploy={"prod": section})
    assert deploying.plan(by_admin, "prod", path(versions[0])).changes == ()
    deploying.apply(by_admin, "prod", path(versions[1]))
    assert version_that_answers(host, versions[0]) == versions[1].bundle.version
    deploying.apply(by_admin, "prod", path(versions[0]))
    host.ssh("rm /etc/sudoers.d/admin")
    with pytest.raises(OutsideError, match="may not act as root"):
        deploying.plan(by_admin, "prod", path(versions[0]))


def test_a_host_that_refuses_or_is_not_there_is_an_error_that_says_so(
    deployed: Project, house: Path, host: Host, tmp_path: Path
) -> None:
    section = deployed.deploy["prod"]
    (tmp_path / "nobody").write_text("")
    cases = {
        "key is not known": {"known_hosts": str(tmp_path / "nobody")},
        "refuses the user": {"host": f"nobody@{host.address}"},
        "cannot be reached": {"ssh_port": 1},
        "name is not known": {"host": "root@no-such-host.invalid"},
    }
    for said, change in cases.items():
        other = msgspec.structs.replace(section, **change)
        wrong = msgspec.structs.replace(deployed, deploy={"prod": other})
        with pytest.raises(OutsideError, match=said) as caught:
            deploying.status(wrong, "prod")
        assert caught.value.fix
        assert caught.value.exit_code == 3


def test_what_was_not_made_by_roadworthy_is_left_alone(deployed: Project, host: Host) -> None:
    host.ssh("mkdir -p /opt/roadworthy/other && touch /opt/roadworthy/other/mine")
    foreign = msgspec.structs.replace(deployed, deploy={"other": deployed.deploy["prod"]})
    with pytest.raises(InputError, match="not made by Roadworthy"):
        deploying.destroy(foreign, "other")
    assert host.ssh("cat /opt/roadworthy/other/mine").returncode == 0
    host.ssh("rm -r /opt/roadworthy/other")


def test_a_host_key_that_changed_is_never_accepted(deployed: Project, host: Host) -> None:
    before = host.known_hosts.read_text()
    kind, key = "ssh-ed25519", before.split()[2]
    host.known_hosts.write_text(f"{host.address} {kind} {key[:-6]}AAAAAA\n")
    try:
        with pytest.raises(OutsideError, match="not the one that is known"):
            deploying.status(deployed, "prod")
    finally:
        host.known_hosts.write_text(before)


def test_destroy_completes_after_any_failure_and_leaves_nothing_of_ours(
    deployed: Project, host: Host, untouched: set[str]
) -> None:
    original = SshTarget.perform
    failed: list[tuple[str, str]] = []

    def perform(self: SshTarget, step: Step) -> None:
        for when in ("before", "after"):
            if when == "after":
                original(self, step)
            if (step.id, when) not in failed:
                failed.append((step.id, when))
                raise OutsideError("injected")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SshTarget, "perform", perform)
        for _ in range(40):
            try:
                deploying.destroy(deployed, "prod")
                break
            except OutsideError as error:
                assert error.what == "injected"  # noqa: PT017
        else:
            raise AssertionError("it never completed")
    assert {step for step, _ in failed} == {"stop", "units", "firewall", "settings", "folder"}
    assert own(host) == untouched
    assert deploying.destroy(deployed, "prod").changes == ()
    assert deploying.status(deployed, "prod").serving is None
