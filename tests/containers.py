"""Real parts for the tests of images and deployments: an engine, a base image, a registry.

All of them are installed and started here, on a bare Debian machine, and kept in a cache folder
where that saves time. Nothing is fetched from a container registry: the base is made of this
machine's own Debian packages and its CPython, as Docker's `python:slim` is.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.installing import CACHE, alone, install_debian, update_debian

PACKAGES = ("docker.io", "docker-compose", "iptables", "iproute2", "docker-registry", "skopeo")
PROGRAMS = ("dockerd", "docker-compose", "iptables", "ip", "docker-registry", "skopeo")
BASE_PACKAGES = (
    "base-files", "base-passwd", "ca-certificates", "coreutils", "dash", "findutils", "libacl1",
    "libattr1", "libbz2-1.0", "libc-bin", "libc6", "libcrypt1", "libexpat1", "libffi8",
    "libgcc-s1", "libgdbm6", "libgmp10", "liblzma5", "libncursesw6", "libpcre2-8-0",
    "libreadline8", "libselinux1", "libsqlite3-0", "libssl3", "libstdc++6", "libtinfo6",
    "libuuid1", "netbase", "openssl", "tzdata", "zlib1g",
)  # fmt: skip
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
BASE = f"python:{PYTHON}-slim"
_UNWANTED = {
    "__pycache__", "test", "tests", "idlelib", "tkinter", "turtledemo", "lib2to3", "pydoc_data",
    "site-packages", "ensurepip",
}  # fmt: skip


def install_programs() -> None:
    """What Debian has to bring."""
    with alone():
        if not all(shutil.which(name) for name in PROGRAMS):
            install_debian(*PACKAGES)


@contextlib.contextmanager
def engine() -> Iterator[dict[str, str]]:
    """A Docker engine of our own; yields the environment in which `docker` finds it."""
    install_programs()
    subprocess.run(["sysctl", "-qw", "net.ipv4.ip_forward=1"], check=True)
    with tempfile.TemporaryDirectory(prefix="engine-") as name, _bridge() as bridge:
        folder = Path(name)
        address = f"unix://{folder}/docker.sock"
        log = (folder / "log").open("wb")
        daemon = subprocess.Popen(
            ["dockerd", "--data-root", str(folder / "data"), "--exec-root", str(folder / "exec"),
             "--pidfile", str(folder / "pid"), "-H", address, "--mtu", "1400",
             "--bridge", bridge],
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        environment = {"DOCKER_HOST": address, "DOCKER_BUILDKIT": "0",
                       "DOCKER_CONFIG": str(folder / "client")}  # fmt: skip
        (folder / "client").mkdir()
        (folder / "client" / "config.json").write_text("{}")
        try:
            wait_for_engine(daemon, environment, folder / "log")
            yield environment
        finally:
            daemon.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.wait(30)
            daemon.kill()
            log.close()
            _unmount(folder)


@contextlib.contextmanager
def _bridge() -> Iterator[str]:
    """A network of the engine's own: two engines on one bridge give the same address twice."""
    name = f"rw{secrets.token_hex(4)}"
    subprocess.run(["ip", "link", "add", name, "type", "bridge"], check=True)
    try:
        # of the range for benchmarks of networks (RFC 2544), which no machine is in
        address = f"198.{18 + secrets.randbelow(2)}.{secrets.randbelow(256)}.1/24"
        subprocess.run(["ip", "address", "add", address, "dev", name], check=True)
        subprocess.run(["ip", "link", "set", name, "up"], check=True)
        yield name
    finally:
        subprocess.run(["ip", "link", "delete", name], check=False)


def _unmount(folder: Path) -> None:
    """Take away what an engine left mounted below its folder: layers, name spaces of networks."""
    below = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for place in reversed([place for place in below if place.startswith(f"{folder}/")]):
        subprocess.run(["umount", place], check=False, capture_output=True)


def wait_for_engine(
    daemon: subprocess.Popen[bytes], environment: dict[str, str], log: Path
) -> None:
    for _ in range(600):
        asked = subprocess.run(
            ["docker", "version"], env={**os.environ, **environment}, capture_output=True
        )
        if asked.returncode == 0:
            return
        assert daemon.poll() is None, log.read_text()[-3000:]
        time.sleep(0.1)
    raise AssertionError(log.read_text()[-3000:])


def base_tar() -> Path:
    """A root file system with CPython and pip, as Docker's `python:slim` has them; kept."""
    target = CACHE / f"base-{PYTHON}-1.tar"
    if target.exists():
        return target
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as name:
        root = Path(name, "root")
        _lay_debian(root)
        _lay_python(root)
        draft = Path(name, "base.tar")
        with tarfile.open(draft, "w") as archive:
            archive.add(root, ".", filter=_plain)
        draft.replace(target)
    return target


def _lay_debian(root: Path) -> None:
    for folder in ("usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "tmp", "root", "proc", "sys",
                   "dev", "run", "etc", "var/tmp"):  # fmt: skip
        (root / folder).mkdir(parents=True)
    for link in ("bin", "sbin", "lib", "lib64"):
        (root / link).symlink_to(f"usr/{link}")
    listed = subprocess.run(
        ["dpkg", "-L", *BASE_PACKAGES], capture_output=True, text=True, check=True
    ).stdout
    wanted = [
        name
        for name in dict.fromkeys(listed.splitlines())
        if name.startswith("/")
        and not name.startswith(
            (
                "/usr/share/doc/",
                "/usr/share/man/",
                "/usr/share/locale/",
                "/usr/share/info/",
                "/usr/share/lintian/",
            )
        )
        and (Path(name).is_symlink() or Path(name).is_file())
    ]
    wanted += ["/etc/passwd", "/etc/group", "/etc/ssl/certs/ca-certificates.crt"]
    for name in wanted:
        resolved = name
        for link in ("bin", "sbin", "lib", "lib64"):
            if name.startswith(f"/{link}/"):
                resolved = f"/usr{name}"
        target = root / resolved.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists() and not target.is_symlink():
            shutil.copy2(name, target, follow_symlinks=False)
    if not (root / "usr/bin/sh").exists():
        (root / "usr/bin/sh").symlink_to("dash")
    # a machine whose traffic is signed anew trusts an authority of its own: so does the base
    (root / "etc/pip.conf").write_text("[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n")


def _lay_python(root: Path) -> None:
    prefix, local = Path(sys.base_prefix), root / "usr/local"
    library = Path(sysconfig.get_path("stdlib"))
    target = local / "lib" / f"python{PYTHON}"

    def unwanted(_: str, names: list[str]) -> set[str]:
        return {
            name
            for name in names
            if name in _UNWANTED or name.endswith((".a", ".pyc")) or name.startswith("config-3")
        }

    shutil.copytree(library, target, symlinks=True, ignore=unwanted)
    packages = target / "site-packages"
    packages.mkdir()
    subprocess.run(
        [sys.executable, "-m", "venv", str(root / "tmp/venv")], check=True, capture_output=True
    )
    for found in (root / "tmp/venv/lib" / f"python{PYTHON}" / "site-packages").glob("pip*"):
        shutil.copytree(found, packages / found.name, ignore=unwanted_caches)
    shutil.rmtree(root / "tmp/venv")
    (local / "bin").mkdir(parents=True, exist_ok=True)
    program = Path(os.path.realpath(prefix / "bin" / f"python{PYTHON}"))
    shutil.copy2(program, local / "bin" / f"python{PYTHON}")
    for name in ("python3", "python"):
        (local / "bin" / name).symlink_to(f"python{PYTHON}")
    for shared in (prefix / "lib").glob("libpython*.so*"):
        shutil.copy2(shared, local / "lib" / shared.name, follow_symlinks=False)
    subprocess.run(["ldconfig", "-r", str(root)], check=True)


def unwanted_caches(_: str, names: list[str]) -> set[str]:
    """What need not be copied of a package."""
    return {name for name in names if name == "__pycache__"}


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    if entry.name == "./tmp":
        entry.mode = 0o1777
    return entry


def import_base(environment: dict[str, str], name: str = BASE) -> str:
    """Give the engine its base image; returns the name."""
    version = ".".join(map(str, sys.version_info[:3]))
    changes = ["ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
               "ENV LANG=C.UTF-8", f"ENV PYTHON_VERSION={version}", 'CMD ["python3"]']  # fmt: skip
    options = [word for change in changes for word in ("--change", change)]
    subprocess.run(
        ["docker", "import", *options, str(base_tar()), name],
        check=True, capture_output=True, env={**os.environ, **environment},
    )  # fmt: skip
    return name


@contextlib.contextmanager
def registry(*, password_file: Path | None = None) -> Iterator[str]:
    """A real registry on this machine; yields its host and port."""
    install_programs()
    with tempfile.TemporaryDirectory(prefix="registry-") as name, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        login = ""
        if password_file is not None:
            login = f"auth:\n  htpasswd:\n    realm: tests\n    path: {password_file}\n"
        config = Path(name, "config.yml")
        config.write_text(
            f"version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {name}/data\n"
            f"http:\n  addr: 127.0.0.1:{port}\n{login}"
        )
        log = Path(name, "log").open("wb")  # noqa: SIM115 (closed below)
        server = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=log, stderr=log)
        try:
            _wait_for_registry(port)
            yield f"127.0.0.1:{port}"
        finally:
            server.kill()
            server.wait()
            log.close()


def _wait_for_registry(port: int) -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=2)
        except urllib.error.HTTPError:
            return  # it asks for a password, so it is there
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("the registry did not come up")


PODMAN_PACKAGES = ("podman", "buildah", "netavark", "aardvark-dns", "catatonit")


@contextlib.contextmanager
def podman() -> Iterator[dict[str, str]]:
    """Podman and Buildah with a storage of their own; yields the environment in which they run.

    With runc and modest limits: crun does not run under hybrid control groups. One at a time: its
    network has the same name and addresses in every storage.
    """
    with alone("podman"):
        yield from _podman()


def _podman() -> Iterator[dict[str, str]]:
    install_programs()
    with alone():
        if not (shutil.which("podman") and shutil.which("buildah")):
            install_debian(*PODMAN_PACKAGES)
    folder = Path(tempfile.mkdtemp(prefix="podman-", dir="/var/tmp"))
    (folder / "containers.conf").write_text(
        '[containers]\ndefault_ulimits = ["nofile=16384:16384", "nproc=32768:32768"]\n'
        '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
    )
    (folder / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/graph"\nrunroot = "{folder}/run"\n'
    )
    variables = {
        "CONTAINERS_CONF": str(folder / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        "BUILDAH_RUNTIME": "runc",
        "BUILDAH_ISOLATION": "chroot",
    }
    try:
        yield variables
    finally:
        for command in (["podman", "rm", "-af"], ["buildah", "rm", "-a"]):
            subprocess.run(command, env={**os.environ, **variables}, capture_output=True)
        subprocess.run(["umount", "-R", f"{folder}/graph/overlay"], capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


def import_podman_base(variables: dict[str, str], name: str = f"docker.io/library/{BASE}") -> str:
    """Give Podman and Buildah their base image; returns its name."""
    version = ".".join(map(str, sys.version_info[:3]))
    changes = ["ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
               f"ENV PYTHON_VERSION={version}"]  # fmt: skip
    options = [word for change in changes for word in ("--change", change)]
    subprocess.run(
        ["podman", "import", "--quiet", *options, str(base_tar()), name],
        check=True, capture_output=True, env={**os.environ, **variables},
    )  # fmt: skip
    return name


def caddy_image(environment: dict[str, str], name: str = "caddy:tests") -> str:
    """Give the engine an image with Debian's Caddy, over the base; returns its name."""
    target = CACHE / "caddy-1"
    if not target.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            with alone():
                update_debian()
            download = ["apt-get", "-o", "APT::Sandbox::User=root", "download", "-qq", "caddy"]
            subprocess.run(download, cwd=folder, check=True)
            [package] = Path(folder).glob("*.deb")
            subprocess.run(["dpkg-deb", "-x", str(package), f"{folder}/root"], check=True)
            Path(folder, "root/usr/bin/caddy").replace(target)
    lines = "COPY caddy /usr/bin/caddy"
    return program_image(environment, target, "caddy", name, lines)


def program_image(
    environment: dict[str, str], program: Path, called: str, name: str, lines: str
) -> str:
    """Give the engine an image of a program of this machine and its libraries, over the base."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy2(program, Path(folder, called))
        (Path(folder) / "lib").mkdir()
        needed = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
        for line in needed.splitlines():
            _, _, place = line.partition(" => ")
            if place and not Path(place.split()[0]).name.startswith(("libc.", "ld-")):
                shutil.copy2(place.split()[0], Path(folder, "lib"))
        Path(folder, "Dockerfile").write_text(
            f"FROM {BASE}\nCOPY lib /usr/local/lib\nRUN ldconfig\n{lines}\n"
        )
        subprocess.run(
            ["docker", "build", "--quiet", "--tag", name, folder],
            check=True, capture_output=True, env={**os.environ, **environment},
        )  # fmt: skip
    return name
