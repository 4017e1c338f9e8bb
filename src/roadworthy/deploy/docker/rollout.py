"""What is done on the engine: a release is sent, started, asked, put in front; others are ended."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from roadworthy.acceptance import accept
from roadworthy.bundle.manifest import to_json
from roadworthy.deploy.docker import description as parts
from roadworthy.deploy.docker import images
from roadworthy.deploy.docker.engine import Engine
from roadworthy.deploy.docker.looking import look, releases_of
from roadworthy.deploy.evidence import SHOWN_LINES, Evidence
from roadworthy.deploy.host.probe import ask
from roadworthy.deploy.tunnel import tunnel, version_at, without_latency
from roadworthy.deploy.wanted import Release, Wanted
from roadworthy.errors import CheckFailed, OutsideError, RoadworthyError
from roadworthy.image.dockerfile import HEALTH
from roadworthy.image.hardening import GRACE_SECONDS
from roadworthy.project import DockerSection, Project

_PUBLIC_SECONDS = 30.0
_PAUSE = 0.2
_LOG_LINES = 200


class Rollout:
    """The work of a deployment's steps; doing one twice is as doing it once.

    Args:
        names: The deployment's names.
        section: `[deploy.NAME]`.
        project: For `[gates]`, `[behaviour]`, `[image]` and `[serve]`.
        engine: The engine.
        evidence: Where what failed is kept.
        wanted: What is to be served, its release named for this target; None where that is not
            asked, as in a rollback.
        choice: The image of what is wanted.
    """

    def __init__(
        self,
        names: parts.Names,
        section: DockerSection,
        project: Project,
        engine: Engine,
        evidence: Evidence,
        wanted: Wanted | None = None,
        choice: images.Choice | None = None,
    ) -> None:
        self.names = names
        self.section = section
        self.project = project
        self.engine = engine
        self.evidence = evidence
        self.wanted = wanted
        self.choice = choice

    @property
    def release(self) -> Release:
        """What is to be served."""
        assert self.wanted is not None
        return self.wanted.release

    @property
    def image(self) -> str:
        """The image of what is to be served."""
        assert self.choice is not None
        return self.choice.reference or f"{self.names.repository}:{self.release.id}"

    @property
    def volumes(self) -> dict[str, str]:
        """Volume -> where the release has it."""
        logs = self.project.serve.log_folder is not None
        return parts.release_volumes(self.names, self.release.id, logs=logs)

    @property
    def container(self) -> list[str]:
        """The command that makes the release's container."""
        return parts.release_container(
            self.names, self.section, self.release, self.image, self.volumes, self.engine.name
        )

    @property
    def proxy_container(self) -> list[str]:
        """The command that makes the proxy's container."""
        return parts.proxy_container(
            self.names, self.section, self.release.model, self.proxy_key, self.engine.name
        )

    @property
    def proxy_key(self) -> str:
        """Digits for everything that the proxy is given."""
        assert self.wanted is not None
        certificate = self.wanted.certificate
        pair = [certificate.chain.sha256, certificate.key.sha256] if certificate else []
        arguments = parts.proxy_container(
            self.names, self.section, self.release.model, "", self.engine.name
        )
        trusted = [self.wanted.authority.sha256] if self.wanted.authority else []
        settings = parts.proxy_settings(self.section, certificate)
        return images.digits((arguments, settings, pair, *trusted))

    def has_image(self) -> bool:
        """Whether the engine has the image that is built; one that is named is always looked at."""
        assert self.wanted is not None
        assert self.choice is not None
        return not self.choice.reference and images.is_there(
            self.image, self.wanted.bundle, self.engine
        )

    def get_image(self) -> None:
        """Have the image on the engine: built, or verified and pulled."""
        assert self.wanted is not None
        assert self.choice is not None
        images.provide(self.choice, self.image, self.wanted.bundle, self.project, self.engine)

    def send(self) -> None:
        """Send the release's files into volumes of its own."""
        self._make_volumes(self.volumes)
        with tempfile.TemporaryFile() as held:
            parts.release_archive(self.release, self.volumes, held)
            held.seek(0)
            self.engine.feed(parts.receiving(self.image, self.volumes), held)

    def create(self) -> None:
        """Make the release's container."""
        network = self.section.network
        if network is not None and not self.engine.has_network(network):
            raise OutsideError(
                f"the engine has no network {network!r}",
                where=self.engine.name,
                fix=f"{self.engine.name} network create {network}, or correct network",
            )
        self.engine.run(*self.container)

    def _make_volumes(self, volumes: Mapping[str, str]) -> None:
        for name in volumes:
            labels = self.names.labels(self.release.model, "volume")
            if name not in self.engine.volumes(self.names.label):
                self.engine.run("volume", "create", *labels, name)

    def start(self, release: str) -> None:
        """Start a release, and wait until it is ready."""
        made = self.names.release(release)
        restarts = self._container(made)["RestartCount"]
        self.engine.run("start", made)
        try:
            self._wait_ready(made, restarts)
        except CheckFailed as error:
            raise self._reject(release, {"error": error.what}, error.what) from None

    def _container(self, name: str) -> dict[str, Any]:
        found = self.engine.containers(self.names.label).get(name)
        if found is None:
            raise OutsideError("the container is gone", where=name, fix="run the same again")
        return found

    def _wait_ready(self, made: str, restarts: int) -> None:
        """Wait until a release answers; CheckFailed when it ended or takes too long."""
        end = time.monotonic() + self.section.start_seconds
        while time.monotonic() < end:
            found = self._container(made)
            if found["RestartCount"] > restarts or not found["State"]["Running"]:
                raise CheckFailed("it ended before it was ready")
            with contextlib.suppress(OutsideError):
                self.engine.run("exec", made, *HEALTH)
                return
            time.sleep(_PAUSE)
        raise CheckFailed(f"it is not ready after {self.section.start_seconds} s")

    def accept(self) -> None:
        """Golden rows, gates and behaviour against the release that callers do not get yet."""
        assert self.wanted is not None
        release, bundle = self.wanted.release.id, self.wanted.bundle
        made = self.names.release(release)
        relay = ["exec", "--interactive", made, "python", "-m", "roadworthy.deploy.host.relay",
                 parts.socket_of(release)]  # fmt: skip
        try:
            self._wait_ready(made, self._container(made)["RestartCount"])
            with tunnel(lambda: self.engine.channel(relay)) as url:
                place, gates = version_at(url, bundle), without_latency(self.project)
                verdict = accept(bundle, None, gates, url=place)
        except RoadworthyError as error:
            raise self._reject(release, {"error": str(error)}, error.what) from None
        if not verdict.passed:
            reasons = "; ".join(f"{c.name}: {c.reason}" for c in verdict.stopping())
            raise self._reject(release, verdict, reasons)
        kept = msgspec.json.format(msgspec.json.encode(verdict), indent=2)
        self._feed(parts.inside(made, "accepted", release), kept)

    def _feed(self, arguments: Sequence[str], content: bytes) -> None:
        with tempfile.TemporaryFile() as held:
            held.write(content)
            held.seek(0)
            self.engine.feed(arguments, held)

    def _reject(self, release: str, verdict: object, reasons: str) -> CheckFailed:
        """Keep what the release answered, its log and exit code; end it, and forget a new one."""
        made = self.names.release(release)
        there = look(self.engine, self.names)
        if release != there.serving:
            self.engine.run("stop", f"--time={GRACE_SECONDS}", made)
        files, shown = self._said(made, release)
        failed = self.evidence.keep(
            release, verdict, f"the release does not pass: {reasons}", files, shown
        )
        if release not in (there.serving, *there.before):
            self.remove_containers([made])
            self.remove_volumes([made])
            tag = f"{self.names.repository}:{release}"
            self.remove_images([each for each in self.engine.images(tag.partition(":")[0])
                                if each == tag])  # fmt: skip
        return failed

    def _said(self, made: str, release: str) -> tuple[dict[str, bytes], list[str]]:
        """The log of a container and how it ended, as files and as lines to show."""
        log = self.engine.log(made, _LOG_LINES)
        state = self.engine.containers(f"roadworthy.release={release}").get(made, {})
        ended = {**state.get("State", {}), "RestartCount": state.get("RestartCount", 0)}
        code = f"exit code {ended.get('ExitCode')}, restarts {ended['RestartCount']}"
        files = {"log.txt": f"{log}\n".encode(), "exit.json": to_json(ended)}
        return files, [code, *log.splitlines()[-SHOWN_LINES:]]

    def proxy(self) -> None:
        """Run the proxy, anew when it is to be another."""
        assert self.wanted is not None
        names, certificate = self.names, self.wanted.certificate
        if self.engine.image(self.section.proxy_image) is None:
            self.engine.run("pull", self.section.proxy_image)
        volumes = {names.proxy: parts.PROXY}
        self._make_volumes(volumes)
        with tempfile.TemporaryFile() as held:
            settings = parts.proxy_settings(self.section, certificate)
            parts.proxy_archive(settings, certificate, self.wanted.authority, held)
            held.seek(0)
            self.engine.feed(parts.receiving(self.image, volumes), held)
        if names.proxy in self.engine.containers(names.label):
            self.remove_containers([names.proxy])
        self.engine.run(*self.proxy_container)
        self.engine.run("start", names.proxy)

    def _wait_public(self) -> str:
        """Wait until callers are answered; what they are told when they never are.

        Raises:
            OutsideError: The proxy does not run.
        """
        section, said = self.section, "nothing"
        unnamed = {"0.0.0.0": "127.0.0.1", "::": "::1"}
        host = self.engine.host or unnamed.get(section.address, section.address)
        end = time.monotonic() + _PUBLIC_SECONDS
        while time.monotonic() < end:
            proxy = self._container(self.names.proxy)
            if proxy["RestartCount"] or not proxy["State"]["Running"]:
                raise OutsideError(
                    f"the proxy does not run: {self.engine.log(self.names.proxy, 3)}",
                    where=self.names.proxy,
                    fix="check port, address and proxy_image, then run the same again",
                )
            # a certificate that is still being asked for is no reason to wait
            if section.domain is not None:
                return ""
            said = ask("https" if section.secured else "http", host, section.public_port)
            if said == "200":
                return ""
            time.sleep(_PAUSE)
        return f"callers are answered at {host}, port {section.public_port}: {said}"

    def switch(self, release: str, words: Sequence[str]) -> None:
        """Let callers reach a release; when they are then not answered, go back."""
        made, was = self.names.release(release), look(self.engine, self.names).serving
        back = [was] if was is not None else []
        self._feed(parts.inside(made, "switch", *words), b"")
        try:
            said = self._wait_public()
        except OutsideError:
            self._feed(parts.inside(made, "unswitch", *back), b"")
            raise
        if said:
            self._feed(parts.inside(made, "unswitch", *back), b"")
            raise self._reject(release, {"error": said}, said)

    def drain(self, release: str) -> None:
        """Let the other releases finish what they have, and end them."""
        time.sleep(1)  # what was dialled before the switch has been taken up by then
        made = self.names.release(release)
        found = releases_of(self.engine.containers(self.names.label))
        for name in (self.names.release(each) for each in found):
            if name != made:
                self.engine.run("stop", f"--time={GRACE_SECONDS}", name)

    def clean(self, release: str) -> None:
        """Remove releases beyond those that are kept."""
        there, names = look(self.engine, self.names), self.names
        kept = [release, *there.before[: self.section.keep - 1]]
        self._feed(parts.inside(names.release(release), "keep", *kept), b"")
        gone = [names.release(each) for each in there.facts["releases"].split() if each not in kept]
        self.remove_containers(gone)
        own = {names.shared, names.proxy, names.logs, *map(names.release, kept)}
        self.remove_volumes([e for e in self.engine.volumes(names.label) if e not in own])
        tags = {f"{names.repository}:{each}" for each in kept}
        self.remove_images([e for e in self.engine.images(names.repository) if e not in tags])

    def remove_containers(self, names: Sequence[str]) -> None:
        """Remove containers."""
        if names:
            self.engine.run("stop", f"--time={GRACE_SECONDS}", *names)
            self.engine.run("rm", "--force", *names)

    def remove_volumes(self, names: Sequence[str]) -> None:
        """Remove volumes."""
        if names:
            self.engine.run("volume", "rm", *names)

    def remove_images(self, tags: Sequence[str]) -> None:
        """Remove images."""
        if tags:
            self.engine.run("rmi", *tags)
