"""What a deployment is made of on an engine: names, labels, and the commands that make it.

Releases listen on Unix sockets in a volume that they share with the proxy, so they need no network,
and a swap is one rename of a link, as on a host: Caddy dials that link anew at every request, so
nothing is reloaded and no connection is closed.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Mapping
from typing import IO

import msgspec

from roadworthy.bundle.manifest import to_json
from roadworthy.deploy.docker.inside import CURRENT, SHARED, STATE
from roadworthy.deploy.host.service import CREDENTIAL
from roadworthy.deploy.host.units import caddy_apps
from roadworthy.deploy.wanted import Certificate, Content, Release
from roadworthy.image.dockerfile import USER
from roadworthy.image.hardening import GRACE_SECONDS, TMPFS, run_options
from roadworthy.project import DockerSection

RELEASE = "/opt/roadworthy-release"
LOGS = "/var/lib/roadworthy-log"
PROXY = "/proxy"
DEPLOYMENT = "roadworthy.deployment"
MODEL = "roadworthy.model"
PART = "roadworthy.part"
SETTINGS = "roadworthy.settings"
RELEASE_LABEL = "roadworthy.release"
_ACME_ROOT = f"{PROXY}/tls/acme-root.pem"
_CREDENTIALS = f"{RELEASE}/credentials"
_PORTS = 8080, 8443
_PROXY_MB = 256
_INSIDE = ("-m", "roadworthy.deploy.docker.inside")


class Names(msgspec.Struct, frozen=True):
    """What the parts of a deployment are called; no deployment's name has a dot."""

    name: str

    @property
    def shared(self) -> str:
        """The volume of sockets and state."""
        return f"roadworthy.{self.name}"

    @property
    def proxy(self) -> str:
        """The proxy, and its volume."""
        return f"roadworthy.{self.name}.proxy"

    @property
    def logs(self) -> str:
        """The volume of the prediction log."""
        return f"roadworthy.{self.name}.log"

    @property
    def lock(self) -> str:
        """The container that says who is at work."""
        return f"roadworthy.{self.name}.lock"

    @property
    def repository(self) -> str:
        """Where images that are built here are tagged."""
        return f"roadworthy/{self.name}"

    @property
    def label(self) -> str:
        """What everything of the deployment carries."""
        return f"{DEPLOYMENT}={self.name}"

    def release(self, release: str) -> str:
        """A release's container, and its volume."""
        return f"roadworthy.{self.name}.{release}"

    def labels(self, model: str, part: str, more: Mapping[str, str] | None = None) -> list[str]:
        """Options that label a part."""
        pairs = {DEPLOYMENT: self.name, MODEL: model, PART: part, **(more or {})}
        return [f"--label={key}={text}" for key, text in pairs.items()]


def socket_of(release: str) -> str:
    """The socket of a release, in every container."""
    return f"{SHARED}/{release}.sock"


def receiving(image: str, volumes: Mapping[str, str]) -> list[str]:
    """The command that lays an archive over volumes (name -> place), as root, and ends."""
    mounts = [f"--volume={name}:{place}" for name, place in volumes.items()]
    return [
        "run", "--rm", "--interactive", "--network=none", "--user=0:0", "--read-only",
        f"--tmpfs={TMPFS}", "--cap-drop=ALL", "--cap-add=CHOWN", "--cap-add=FOWNER",
        "--cap-add=DAC_OVERRIDE", "--security-opt=no-new-privileges", *mounts,
        "--entrypoint=python", image, *_INSIDE, "receive",
    ]  # fmt: skip


def inside(container: str, work: str, *arguments: str) -> list[str]:
    """The command that does a work of `inside` in a release's container."""
    return ["exec", "--interactive", container, "python", *_INSIDE, work, *arguments]


def release_volumes(names: Names, release: str, *, logs: bool) -> dict[str, str]:
    """Volume -> where releases have it."""
    own = {names.shared: SHARED, names.release(release): RELEASE}
    return own | ({names.logs: LOGS} if logs else {})


def release_container(
    names: Names,
    section: DockerSection,
    release: Release,
    image: str,
    volumes: Mapping[str, str],
    engine: str,
) -> list[str]:
    """The command that makes a release's container, with every restriction."""
    mounts = [
        f"--volume={name}:{place}{':ro' if place == RELEASE else ''}"
        for name, place in volumes.items()
    ]
    cpus = [f"--cpus={section.cpus:g}"] if section.cpus is not None else []
    more = {RELEASE_LABEL: release.id, "roadworthy.version": release.version}
    return [
        "create", f"--name={names.release(release.id)}",
        *names.labels(release.model, "release", more), *_upkeep(engine),
        *run_options(section.memory_mb), *cpus, f"--network={section.network or 'none'}", *mounts,
        f"--env=CREDENTIALS_DIRECTORY={_CREDENTIALS}",
        f"--env=ROADWORTHY_PROBE_SOCKET={socket_of(release.id)}",
        f"--workdir={RELEASE}", f"--stop-timeout={GRACE_SECONDS}", "--entrypoint=python", image,
        "-m", "roadworthy.deploy.host.service", RELEASE, socket_of(release.id),
    ]  # fmt: skip


def proxy_container(
    names: Names, section: DockerSection, model: str, settings: str, engine: str
) -> list[str]:
    """The command that makes the proxy's container."""
    address = f"[{section.address}]" if ":" in section.address else section.address
    plain, secure = _PORTS
    ports = [(section.public_port, secure if section.secured else plain)]
    ports += [(80, plain)] if section.domain is not None else []
    return [
        "create", f"--name={names.proxy}", *names.labels(model, "proxy", {SETTINGS: settings}),
        *_upkeep(engine), f"--user={USER}:{USER}", "--read-only", f"--tmpfs={TMPFS}",
        # the program in Caddy's own image cannot be started without this one
        "--cap-drop=ALL", "--cap-add=NET_BIND_SERVICE", "--security-opt=no-new-privileges",
        f"--memory={_PROXY_MB}m", f"--memory-swap={_PROXY_MB}m", "--pids-limit=256",
        *(f"--publish={address}:{public}:{own}" for public, own in ports),
        f"--volume={names.shared}:{SHARED}", f"--volume={names.proxy}:{PROXY}",
        f"--env=XDG_DATA_HOME={PROXY}/data", f"--env=XDG_CONFIG_HOME={PROXY}/data",
        section.proxy_image, "caddy", "run", "--config", f"{PROXY}/caddy.json",
    ]  # fmt: skip


def proxy_settings(section: DockerSection, certificate: Certificate | None) -> bytes:
    """Caddy's settings."""
    plain, secure = _PORTS
    apps = caddy_apps(
        section,
        certificate.name if certificate is not None else "",
        port=secure if section.secured else plain,
        current=str(STATE / CURRENT),
        pair=(f"{PROXY}/tls/certificate.pem", f"{PROXY}/tls/key.pem"),
        root=_ACME_ROOT,
    )
    apps["http"] |= {"http_port": plain, "https_port": secure}
    return to_json({"admin": {"disabled": True}, "apps": apps})


def _upkeep(engine: str) -> list[str]:
    """Started again when it dies or the engine does; a log that cannot fill the disk."""
    rotated = {
        "docker": ["--log-driver=local"],  # 5 files of 20 MB
        "podman": ["--log-driver=k8s-file", "--log-opt=max-size=100mb"],
    }
    return ["--restart=unless-stopped", *rotated[engine]]


def release_archive(release: Release, volumes: Mapping[str, str], sink: IO[bytes]) -> None:
    """Write the files of a release for `receive`; all of them are the server's alone."""
    folders = [*volumes.values(), str(STATE), _CREDENTIALS]
    files = {f"{RELEASE}/{file.name}": file.content for file in release.files}
    files[f"{_CREDENTIALS}/{CREDENTIAL}"] = release.secrets
    _write(folders, files, sink)


def proxy_archive(
    settings: bytes, certificate: Certificate | None, authority: Content | None, sink: IO[bytes]
) -> None:
    """Write the files of the proxy for `receive`."""
    files = {f"{PROXY}/caddy.json": Content("", len(settings), data=settings)}
    if certificate is not None:
        files[f"{PROXY}/tls/certificate.pem"] = certificate.chain
        files[f"{PROXY}/tls/key.pem"] = certificate.key
    if authority is not None:
        files[_ACME_ROOT] = authority
    _write([PROXY, f"{PROXY}/tls", f"{PROXY}/data"], files, sink)


def _write(folders: Iterable[str], files: Mapping[str, Content], sink: IO[bytes]) -> None:
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for folder in folders:
            entry = _entry(folder, 0o750)
            entry.type = tarfile.DIRTYPE
            archive.addfile(entry)
        for place, content in files.items():
            entry = _entry(place, 0o400)
            entry.size = content.size
            if content.path is None:
                archive.addfile(entry, io.BytesIO(content.data or b""))
            else:
                with content.path.open("rb") as source:
                    archive.addfile(entry, source)


def _entry(place: str, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(place.lstrip("/"))
    entry.mode, entry.uid, entry.gid = mode, USER, USER
    return entry
