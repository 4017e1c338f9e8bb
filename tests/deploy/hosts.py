"""Real hosts: Debian with systemd and an SSH server, each in its own network namespace.

A root file system is made by mmdebstrap once and kept in the user's cache folder. A host runs on an
overlay of it under systemd-nspawn, with a disk of its own that can be filled. Packages that a
deployment installs lie in its apt cache, so that a host needs no network.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.installing import CACHE, alone, install_debian

RECIPE = [
    "mmdebstrap", "--mode=root", "--variant=minbase", "--skip=cleanup/apt",
    '--aptopt=Acquire::Languages "none"', '--aptopt=Apt::Install-Recommends "false"',
    *(f"--dpkgopt=path-exclude=/usr/share/{each}/*" for each in ("man", "info", "locale", "doc")),
    "--include=usr-is-merged,systemd,systemd-sysv,dbus,openssh-server,iproute2,ca-certificates,sudo,"
    "procps,cloud-init,python3",
    "--hook-dir=/usr/share/mmdebstrap/hooks/maybe-merged-usr",
    '--customize-hook=chroot "$1" apt-get -y --no-install-recommends --download-only install '
    "python3-venv caddy nftables unattended-upgrades ufw firewalld prometheus-node-exporter",
    "bookworm",
]  # fmt: skip
PACKAGES = {"mmdebstrap": "mmdebstrap", "systemd-nspawn": "systemd-container", "ip": "iproute2",
            "ssh": "openssh-client", "cloud-init": "cloud-init"}  # fmt: skip


def install(*programs: str) -> None:
    """Debian packages that the tests need, where they are not there yet."""
    with alone():
        lacking = [PACKAGES[each] for each in programs if shutil.which(each) is None]
        if lacking:
            install_debian(*lacking)


def root_file_system() -> Path:
    """A Debian root, made once."""
    install("mmdebstrap", "systemd-nspawn", "ip", "ssh")
    key = hashlib.sha256(repr(RECIPE).encode()).hexdigest()[:12]
    folder = CACHE / f"host-{key}"
    with alone():
        if not folder.is_dir():
            draft = Path(tempfile.mkdtemp(dir=CACHE, prefix="host-draft-"))
            draft.chmod(0o755)
            subprocess.run([*RECIPE, str(draft)], check=True, capture_output=True, timeout=900)
            draft.rename(folder)
    return folder


class Host:
    """A host that is running.

    Attributes:
        address: Where it is reached.
        identity: A private key that may log in as root and as `admin`, who may run sudo.
        known_hosts: A file with its host key.
    """

    def __init__(self, seed: Callable[[str], dict[str, str]] | None = None) -> None:
        self.root_image = root_file_system()
        number = int.from_bytes(os.urandom(2))
        self.name = f"rw{number:04x}"
        network = f"10.{96 + number % 32}.{number // 32 % 256}"
        self.gateway, self.address = f"{network}.1", f"{network}.2"
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-", dir="/var/tmp"))
        self.process: subprocess.Popen[bytes] | None = None
        run("mount", "-t", "tmpfs", "-o", "size=1500m,mode=755", "tmpfs", str(self.folder))
        self.root = self.folder / "root"
        for each in ("up", "work", "root"):
            (self.folder / each).mkdir()
        options = f"lowerdir={self.root_image},upperdir={self.folder}/up,workdir={self.folder}/work"
        run("mount", "-t", "overlay", "overlay", "-o", options, str(self.root))
        self._make_keys()
        self._make_network()
        self._settle(seed(self.gateway) if seed is not None else None)
        self.boot()

    def _make_keys(self) -> None:
        self.identity = self.folder / "identity"
        self.known_hosts = self.folder / "known_hosts"
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.identity))
        self.new_host_key()
        key = self.identity.with_suffix(".pub").read_text()
        for home in ("root/root", "root/home/admin"):
            folder = self.folder / home / ".ssh"
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)
            (folder / "authorized_keys").write_text(key)
        run("chroot", str(self.root), "useradd", "--shell", "/bin/bash", "admin")
        run("chroot", str(self.root), "chown", "-R", "admin:admin", "/home/admin")
        (self.root / "etc/sudoers.d/admin").write_text("admin ALL=(ALL) NOPASSWD:ALL\n")

    def new_host_key(self, *, known: bool = True) -> None:
        """Give the host a key, and say so to those who know it, or not."""
        for old in (self.root / "etc/ssh").glob("ssh_host_*"):
            old.unlink()
        place = self.root / "etc/ssh/ssh_host_ed25519_key"
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(place))
        if known:
            kind, key = place.with_suffix(".pub").read_text().split()[:2]
            self.known_hosts.write_text(f"{self.address} {kind} {key}\n")

    def _make_network(self) -> None:
        near = f"v-{self.name}"
        run("ip", "netns", "add", self.name)
        run("ip", "link", "add", near, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        run("ip", "addr", "add", f"{self.gateway}/24", "dev", near)
        run("ip", "link", "set", near, "up")
        run("ip", "-n", self.name, "addr", "add", f"{self.address}/24", "dev", "eth0")
        run("ip", "-n", self.name, "link", "set", "eth0", "up")
        run("ip", "-n", self.name, "link", "set", "lo", "up")
        run("ip", "-n", self.name, "route", "add", "default", "via", self.gateway)

    def _settle(self, seed: dict[str, str] | None) -> None:
        (self.root / "etc/hostname").write_text(f"{self.name}\n")
        (self.root / "etc/resolv.conf").write_text("")
        (self.root / "etc/cloud/cloud-init.disabled").touch()
        if seed is not None:
            (self.root / "etc/cloud/cloud-init.disabled").unlink()
            folder = self.root / "var/lib/cloud/seed/nocloud"
            folder.mkdir(parents=True)
            for name, text in seed.items():
                (folder / name).write_text(text)
            only = (
                "datasource_list: [NoCloud]\nnetwork: {config: disabled}\nlocale: false\n"
                "ssh_deletekeys: false\nssh_genkeytypes: []\ndisable_root: false\n"
            )
            (self.root / "etc/cloud/cloud.cfg.d/99-tests.cfg").write_text(only)
            (self.root / "etc/cloud/ds-identify.cfg").write_text("policy: enabled\n")

    def boot(self) -> None:
        """Start it, and wait for its SSH server."""
        command = ["systemd-nspawn", "--register=no", "--keep-unit", "--quiet", "--boot"]
        command += ["-D", str(self.root), f"--machine={self.name}", "--console=read-only"]
        command += [f"--network-namespace-path=/run/netns/{self.name}"]
        command += ["--capability=CAP_NET_ADMIN", "--resolv-conf=off"]
        log = (self.folder / "console.log").open("ab")
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        self.wait_for_ssh()

    def wait_for_ssh(self, seconds: float = 120) -> None:
        end = time.monotonic() + seconds
        while self.ssh("true", check=False).returncode:
            log = (self.folder / "console.log").read_text(errors="replace")
            assert time.monotonic() < end, f"the host does not answer:\n{log[-3000:]}"
            time.sleep(0.2)

    def ssh(self, script: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a script on it as root, by plain SSH."""
        command = ["ssh", "-o", "BatchMode=yes", "-o", f"UserKnownHostsFile={self.known_hosts}"]
        command += ["-o", "ConnectTimeout=5", "-o", "GlobalKnownHostsFile=/dev/null"]
        command += ["-i", str(self.identity), f"root@{self.address}", script]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert not check or done.returncode == 0, done.stderr
        return done

    def files(self) -> set[str]:
        """Every path that is on it now and was not in its image, but for what any host writes."""
        found = self.ssh(
            "find /etc /opt /usr/local /var/lib /home -xdev -newer /etc/hostname ! -type d"
        )
        return set(found.stdout.split())

    def reboot(self) -> None:
        """Reboot it."""
        assert self.process is not None
        self.ssh("systemctl reboot", check=False)
        self.process.wait(90)  # with --keep-unit, whoever started it starts it again
        self.boot()

    def cut(self) -> None:
        """Take the network away."""
        run("ip", "link", "set", f"v-{self.name}", "down")

    def mend(self) -> None:
        """Give the network back."""
        run("ip", "link", "set", f"v-{self.name}", "up")
        run("ip", "-n", self.name, "route", "replace", "default", "via", self.gateway)

    def get(self, path: str, port: int = 80) -> tuple[int, bytes]:
        """Ask its public port."""
        connection = http.client.HTTPConnection(self.address, port, timeout=20)
        with contextlib.closing(connection):
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def close(self) -> None:
        """Stop it, and leave nothing."""
        if self.process is not None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(30)
            self.process.kill()
            self.process.wait()
        for command in (
            ["umount", str(self.root)],
            ["umount", str(self.folder)],
            ["ip", "netns", "del", self.name],
            ["ip", "link", "del", f"v-{self.name}"],
        ):
            subprocess.run(command, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
