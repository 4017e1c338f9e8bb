"""A real Debian host, and what can be asked for besides: TLS, seals, firewalls, metrics."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import socket
import ssl
from pathlib import Path

import msgspec
import pytest

from roadworthy.bundle.container import open_container, pack
from roadworthy.bundle.sealing import seal
from roadworthy.deploy import deploying
from roadworthy.errors import CheckFailed, InputError, UnfitError
from roadworthy.project import Project
from tests.conftest import Trained
from tests.deploy.conftest import ssh_project
from tests.deploy.hosts import Host
from tests.deploy.test_ssh_host import own, path, version_that_answers
from tests.deploy.test_wanted import certificate
from tests.registry.conftest import registry_project
from tests.serve.test_http import wait_for

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def deployed(house: Path, host: Host, versions: list[Trained]) -> Project:
    """The first version, plainly."""
    project = ssh_project(house, host, secrets=("SERVER_TOKEN",), keep=3)
    deploying.apply(project, "prod", path(versions[0]))
    return project


def test_a_certificate_that_was_renewed_with_its_key_takes_the_place_of_the_old_one(
    deployed: Project, host: Host, versions: list[Trained], tmp_path: Path
) -> None:
    chain, key = certificate(tmp_path)
    section = msgspec.structs.replace(
        deployed.deploy["prod"], tls_certificate=chain, tls_key=key, port=8443
    )
    secured = msgspec.structs.replace(deployed, deploy={"prod": section})
    deploying.apply(secured, "prod", path(versions[0]))
    certificate(tmp_path)  # another, with another key, in the same files
    changes = [each.id for each in deploying.apply(secured, "prod", path(versions[0])).changes]
    assert changes == ["certificate"]
    shown = ssl.get_server_certificate((host.address, 8443))
    assert shown.split() == Path(chain).read_text().split()
    certificate(tmp_path, days=-1)
    with pytest.raises(UnfitError, match="expired on") as caught:
        deploying.apply(secured, "prod", path(versions[0]))
    assert caught.value.exit_code == 3
    assert ssl.get_server_certificate((host.address, 8443)) == shown
    deploying.apply(deployed, "prod", path(versions[0]))
    assert version_that_answers(host, versions[0]) == versions[0].bundle.version


def test_a_certificate_is_asked_for_at_an_acme_server_of_ones_own(
    deployed: Project, host: Host, versions: list[Trained], tmp_path: Path
) -> None:
    """Caddy's own ACME server, which looks at the host itself before it signs."""
    host.ssh("echo 127.0.0.1 localhost models.example.org >> /etc/hosts; mkdir -p /run/acme")
    host.ssh(f"cat > /run/acme/caddy.json <<'END'\n{json.dumps(ACME_SERVER)}\nEND\n")
    host.ssh("systemd-run --quiet --unit=acme caddy run --config /run/acme/caddy.json")
    root = "/run/acme/pki/authorities/local/root.crt"
    wait_for(lambda: host.ssh(f"test -s {root}", check=False).returncode == 0)
    (tmp_path / "root.pem").write_text(host.ssh(f"cat {root}").stdout)
    section = msgspec.structs.replace(
        deployed.deploy["prod"],
        domain="models.example.org",
        acme_directory="https://localhost:14000/acme/local/directory",
        acme_root=str(tmp_path / "root.pem"),
        acme_email="ops@example.org",
    )
    secured = msgspec.structs.replace(deployed, deploy={"prod": section})
    changes = {each.id for each in deploying.apply(secured, "prod", path(versions[0])).changes}
    assert {"acme-root", "proxy-settings", "firewall"} <= changes
    trusting = ssl.create_default_context(cafile=str(tmp_path / "root.pem"))
    wait_for(lambda: ready_by_tls(host, trusting) == 200)
    assert deploying.apply(secured, "prod", path(versions[0])).changes == ()
    host.ssh("systemctl stop acme")
    deploying.apply(deployed, "prod", path(versions[0]))
    assert version_that_answers(host, versions[0]) == versions[0].bundle.version


ACME_SERVER = {
    "admin": {"disabled": True},
    "storage": {"module": "file_system", "root": "/run/acme"},
    "apps": {
        "pki": {"certificate_authorities": {"local": {"install_trust": False}}},
        "tls": {
            "automation": {
                "policies": [{"subjects": ["localhost"], "issuers": [{"module": "internal"}]}]
            }
        },
        "http": {
            "http_port": 14001,
            "https_port": 14000,
            "servers": {
                "acme": {
                    "listen": ["127.0.0.1:14000"],
                    "routes": [
                        {"match": [{"host": ["localhost"]}], "handle": [{"handler": "acme_server"}]}
                    ],
                }
            },
        },
    },
}


def ready_by_tls(host: Host, trusting: ssl.SSLContext) -> int:
    """The status of `/readyz` as a caller gets it who trusts that authority alone."""
    name = "models.example.org"
    try:
        with (
            socket.create_connection((host.address, 443), timeout=10) as plain,
            trusting.wrap_socket(plain, server_hostname=name) as secured,
        ):
            secured.sendall(f"GET /readyz HTTP/1.0\r\nHost: {name}\r\n\r\n".encode())
            return int(secured.recv(100).split()[1])
    except (OSError, IndexError):
        return 0


def test_a_canary_and_a_shadow_are_sent_along_and_leave_with_the_next_apply(
    deployed: Project, host: Host, versions: list[Trained]
) -> None:
    one, two = (each.bundle for each in versions)
    beside = deployed.override("serve", canary=path(versions[1]), canary_percent=50.0)
    deploying.apply(beside, "prod", path(versions[0]))
    answers = {version_that_answers(host, versions[0]) for _ in range(60)}
    assert answers == {one.version, two.version}
    watched = deployed.override("serve", shadow=path(versions[1]))
    deploying.apply(watched, "prod", path(versions[0]))
    assert {version_that_answers(host, versions[0]) for _ in range(5)} == {one.version}
    assert b"\nroadworthy_shadow_rows_total{" in host.get("/metrics")[1]
    deploying.apply(deployed, "prod", path(versions[0]))
    assert b"\nroadworthy_shadow_rows_total{" not in host.get("/metrics")[1]


def test_a_sealed_bundle_is_opened_on_the_host_by_a_key_that_is_nowhere_on_its_disk(
    deployed: Project, host: Host, versions: list[Trained], tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("ROADWORTHY_SEAL_PASSPHRASE", "only-for-those-who-may")
    plain, closed = io.BytesIO(), tmp_path / "adult"
    with open_container(Path(path(versions[1]))) as container:
        pack(container, plain, "adult")
    plain.seek(0)
    with closed.open("wb") as sink:
        seal(plain, sink, ["passphrase"])
    section = msgspec.structs.replace(
        deployed.deploy["prod"], secrets=("SERVER_TOKEN", "ROADWORTHY_SEAL_PASSPHRASE")
    )
    by_key = msgspec.structs.replace(deployed, deploy={"prod": section})
    deploying.apply(by_key, "prod", str(closed))
    assert version_that_answers(host, versions[0]) == versions[1].bundle.version
    for word in ("only-for-those-who-may", "very-secret-value"):
        seen = host.ssh(
            f"grep -rlF {word} /etc/roadworthy /opt/roadworthy /var/lib/roadworthy* /var/log "
            f"/run/roadworthy*; journalctl --no-pager | grep -F {word}; "
            f"ps axww -o args | grep -F {word} | grep -v grep",
            check=False,
        )
        assert seen.stdout == ""
    lacking = msgspec.structs.replace(deployed, deploy={"prod": deployed.deploy["prod"]})
    with pytest.raises(CheckFailed, match="no key at hand opens"):
        deploying.apply(lacking, "prod", str(closed))
    assert version_that_answers(host, versions[0]) == versions[1].bundle.version
    deploying.apply(deployed, "prod", path(versions[0]))


def test_upgrades_and_logs_are_looked_after_by_the_system_itself(
    deployed: Project, host: Host
) -> None:
    said = host.ssh(
        "apt-config dump APT::Periodic::Unattended-Upgrade; "
        "systemctl is-enabled apt-daily-upgrade.timer; "
        "unattended-upgrade --dry-run --debug 2>&1 | grep -i 'allowed origins'; "
        "systemd-analyze cat-config systemd/journald.conf | grep ^SystemMaxUse; "
        "systemd-tmpfiles --cat-config | grep /var/lib/roadworthy-prod/log; "
        "ls /var/log/journal | wc -l"
    ).stdout
    assert 'Unattended-Upgrade "1"' in said
    assert "\nenabled\n" in said
    assert "Debian-Security" in said
    assert "SystemMaxUse=500M" in said
    assert "e /var/lib/roadworthy-prod/log - - - 30d" in said
    assert said.split()[-1] == "1"


def test_orphans_are_listed_and_removed_by_name_and_nothing_else_is(
    deployed: Project, host: Host, versions: list[Trained], tmp_path: Path
) -> None:
    """One is a whole deployment that nobody knows, one what is left of a deployment."""
    section = msgspec.structs.replace(deployed.deploy["prod"], port=8090)
    (tmp_path / "others").mkdir()
    elsewhere = registry_project(tmp_path / "others", cache=deployed.registry.cache)
    foreign = msgspec.structs.replace(elsewhere, deploy={"theirs": section})
    deploying.apply(foreign, "theirs", path(versions[0]))
    host.ssh("mkdir -p /etc/roadworthy/left /var/lib/roadworthy-left-proxy /opt/roadworthy/mine; "
             "touch /opt/roadworthy/mine/file; mkdir /etc/roadworthy/mine")  # fmt: skip
    assert deploying.orphans(foreign, "theirs")[-1].deployment == "prod"
    left, theirs = deploying.orphans(deployed, "prod")
    assert (left.deployment, theirs.deployment) == ("left", "theirs")
    assert theirs.model == versions[0].bundle.manifest.name
    assert {each.split()[0] for each in theirs.parts} == {
        "folder", "settings", "ports", "state", "unit"
    }  # fmt: skip
    with pytest.raises(InputError, match="no orphan there"):
        deploying.remove_orphan(deployed, "prod", "prod")
    for each in ("left", "theirs"):
        assert deploying.remove_orphan(deployed, "prod", each).changes
    assert deploying.orphans(deployed, "prod") == ()
    assert not {each for each in own(host) if "theirs" in each or "left" in each}
    assert host.ssh(
        "rm /opt/roadworthy/mine/file && rmdir /opt/roadworthy/mine /etc/roadworthy/mine"
    )
    assert version_that_answers(host, versions[0]) == versions[0].bundle.version


def test_the_hosts_own_metrics_are_read_by_those_who_may(
    deployed: Project, host: Host, versions: list[Trained]
) -> None:
    for network, may in ((f"{host.gateway}/32", True), ("192.0.2.0/24", False)):
        section = msgspec.structs.replace(
            deployed.deploy["prod"], metrics_from=(network, "2001:db8::/64")
        )
        seen = msgspec.structs.replace(deployed, deploy={"prod": section})
        changes = {each.id for each in deploying.apply(seen, "prod", path(versions[0])).changes}
        assert "firewall" in changes
        assert ("metrics" in changes) == may
        if may:
            wait_for(lambda: b"node_memory_MemTotal_bytes" in metrics_of(host))
        else:
            assert metrics_of(host) == b""
    deploying.apply(deployed, "prod", path(versions[0]))
    assert metrics_of(host) == b""


def metrics_of(host: Host) -> bytes:
    """The host's own metrics; nothing when nobody lets us through."""
    connection = http.client.HTTPConnection(host.address, 9100, timeout=4)
    with contextlib.closing(connection), contextlib.suppress(OSError):
        connection.request("GET", "/metrics")
        return connection.getresponse().read()
    return b""


def test_a_firewall_that_is_at_work_is_told_and_what_it_was_told_is_taken_back(
    deployed: Project, host: Host, versions: list[Trained]
) -> None:
    """ufw, with a rule of its owner's for one of the ports that are asked for."""
    apt = "DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends ufw"
    host.ssh(f"{apt} && ufw allow 22/tcp && ufw allow 8091/tcp && ufw --force enable")
    for port, told in ((8092, {"8092/tcp"}), (8091, set())):
        section = msgspec.structs.replace(deployed.deploy["prod"], port=port)
        other = msgspec.structs.replace(deployed, deploy={"walled": section})
        deploying.apply(other, "walled", path(versions[0]))
        assert host.get("/readyz", port)[0] == 200
        assert ufw_rules(host, "# roadworthy walled$") == told
        assert deploying.plan(other, "walled", path(versions[0])).changes == ()
    host.ssh("ufw allow 8093/tcp comment 'roadworthy walled'")
    deploying.destroy(other, "walled")
    assert ufw_rules(host, "ALLOW") == {"22/tcp", "8091/tcp"}
    host.ssh("ufw --force disable")
    changes = [each.id for each in deploying.apply(deployed, "prod", path(versions[0])).changes]
    assert changes == ["firewall"]  # rules of ours again, as nobody else is at work
    assert version_that_answers(host, versions[0]) == versions[0].bundle.version


def test_firewalld_is_told_and_what_it_was_told_is_taken_back(
    deployed: Project, host: Host, versions: list[Trained]
) -> None:
    """firewalld, with a port and a reader of its owner's."""
    apt = "DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends firewalld"
    theirs = 'rule family="ipv4" source address="192.0.2.9" service name="http" accept'
    host.ssh(f"{apt} && systemctl start firewalld")
    host.ssh("firewall-cmd --permanent --add-port=8091/tcp")
    host.ssh(f"firewall-cmd --permanent --add-rich-rule='{theirs}' && firewall-cmd --reload")
    before = zone(host)
    for port, readers in ((8092, (f"{host.gateway}/32", "2001:db8::/64")), (8094, ())):
        section = msgspec.structs.replace(deployed.deploy["prod"], port=port, metrics_from=readers)
        other = msgspec.structs.replace(deployed, deploy={"walled": section})
        deploying.apply(other, "walled", path(versions[0]))
        assert host.get("/readyz", port)[0] == 200
        told = host.ssh("firewall-cmd --info-service=roadworthy-walled").stdout
        assert f"ports: {port}/tcp" in told
        assert deploying.plan(other, "walled", path(versions[0])).changes == ()
        if readers:
            wait_for(lambda: b"node_memory_MemTotal_bytes" in metrics_of(host))
        else:
            assert metrics_of(host) == b""
    with pytest.raises(OSError, match=r"timed out|refused|No route|unreachable"):
        host.get("/readyz", 8092)  # what was told before is taken back
    host.ssh("firewall-cmd --reload")  # and it is so for ever, not only now
    assert host.get("/readyz", 8094)[0] == 200
    deploying.destroy(other, "walled")
    assert zone(host) == before
    assert "roadworthy" not in host.ssh("firewall-cmd --permanent --get-services").stdout
    host.ssh("systemctl stop firewalld")
    changes = [each.id for each in deploying.apply(deployed, "prod", path(versions[0])).changes]
    assert changes == ["firewall"]  # rules of ours again, as nobody else is at work
    assert version_that_answers(host, versions[0]) == versions[0].bundle.version


def zone(host: Host) -> tuple[str, str]:
    """What firewalld lets through, now and for ever."""
    now, ever = (host.ssh(f"firewall-cmd {each} --list-all").stdout for each in
                 ("", "--permanent"))  # fmt: skip
    return now, ever


def ufw_rules(host: Host, pattern: str) -> set[str]:
    """The ports of the rules that match."""
    said = host.ssh(f"ufw status | grep '{pattern}'", check=False).stdout
    return {line.split()[0] for line in said.splitlines()}
