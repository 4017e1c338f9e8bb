"""Where a fleet's callers go: what its backend services say, and who is healthy."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from roadworthy.bundle import Bundle
from roadworthy.deploy.cloud.trying import answered, by_tls, until_reached
from roadworthy.deploy.gcp.fleet.releases import name_of, release_of
from roadworthy.deploy.gcp.fleet.wanted import SERVICE, TRIAL, routes, service_name
from roadworthy.deploy.gcp.provider import GcpProvider
from roadworthy.deploy.gcp.resource import Thing, thing
from roadworthy.deploy.tunnel import version_at
from roadworthy.errors import OutsideError
from roadworthy.project import GcpSection

SERVING, BEFORE = "roadworthy-serving", "roadworthy-before"
"""Marks of the backend service: the release that callers get, and those before it."""


class Traffic:
    """The balancer of a fleet.

    Args:
        provider: What is there.
        section: `[deploy.NAME]`.
        pause: Seconds between two looks.
        settling: Seconds until a change has reached all of Google's balancers.
    """

    def __init__(
        self, provider: GcpProvider, section: GcpSection, pause: float, settling: float
    ) -> None:
        self.provider = provider
        self.account = provider.account
        self.naming = provider.naming
        self.section = section
        self.pause = pause
        self.settling = settling

    @property
    def _callers(self) -> Thing | None:
        return next((each for each in self.provider.things if each.part == SERVICE), None)

    @property
    def _marks(self) -> dict[str, str]:
        return dict(self._callers.marks) if self._callers is not None else {}

    def alone(self, release: str) -> bool:
        """Whether callers meet a release and no other, as it was observed last."""
        listed = self._callers.there.get("backends") or () if self._callers is not None else ()
        return [each["group"] for each in listed] == [self._group(release)]

    @property
    def groups(self) -> dict[str, dict[str, Any]]:
        """Release -> its group, as it was observed last."""
        return {
            release_of(each.part): each.there
            for each in self.provider.things
            if each.collection == "regionInstanceGroupManagers" and release_of(each.part)
        }

    @property
    def sizes(self) -> dict[str, int]:
        """Release -> how many machines its group is to have."""
        return {each: int(there.get("targetSize") or 0) for each, there in self.groups.items()}

    @property
    def address(self) -> str:
        """Where callers reach it."""
        return self.provider.address

    @property
    def serving(self) -> str | None:
        """The release that callers get."""
        return self._marks.get(SERVING)

    @property
    def before(self) -> tuple[str, ...]:
        """Releases that served and are there, the last one first."""
        found = self._marks.get(BEFORE, "").split(",")
        return tuple(each for each in found if each in self.groups and each != self.serving)

    def _service(self, which: str) -> tuple[dict[str, Any], dict[str, Any]]:
        named: dict[str, Any] = {
            "project": self.naming.project,
            "backendService": service_name(self.naming, which),
        }
        found = self.account.get("backendServices", **named)
        if found is None:
            raise OutsideError(
                "the backend service is gone", where=self.provider.place, fix="run the same again"
            )
        return named, found

    def point(
        self, which: str, releases: Sequence[str], serving: str = "", before: Sequence[str] = ()
    ) -> None:
        """Say which groups a backend service has, and in the same call who serves.

        Args:
            which: `SERVICE` or `TRIAL`.
            releases: Whose groups.
            serving: The release that serves now; empty: that stays as it is.
            before: Those before it.
        """
        named, found = self._service(which)
        marks = thing("backendServices", found).marks
        body: dict[str, Any] = {
            "backends": [
                {
                    "group": self._group(each), "balancingMode": "UTILIZATION",
                    "maxUtilization": 0.8, "capacityScaler": 1.0,
                }
                for each in releases
            ],
        }  # fmt: skip
        if serving:
            told = {**marks, SERVING: serving, BEFORE: ",".join(before)}
            body["description"] = " ".join(f"{key}={each}" for key, each in told.items() if each)
        if "fingerprint" in found:
            body["fingerprint"] = found["fingerprint"]
        self.account.change("backendServices", "patch", **named, body=body)

    def _group(self, release: str) -> str:
        region = f"projects/{self.naming.project}/regions/{self.section.region}"
        return f"{region}/instanceGroups/{name_of(self.naming, release)}"

    def look_at(self, release: str | None) -> None:
        """Let the balancer look at the machines of a release that is tried; None: of none."""
        self.point(TRIAL, [release] if release else [])

    def looked_at(self, release: str) -> int:
        """How many machines of the release that is tried are healthy."""
        return self._healthy(TRIAL, release)

    def healthy(self, release: str) -> int:
        """How many machines of the release that callers get are healthy."""
        return self._healthy(SERVICE, release)

    def _healthy(self, which: str, release: str) -> int:
        """How many machines of a release answer a backend service."""
        named, _ = self._service(which)
        answer = self.account.get(
            "backendServices", "getHealth", **named, body={"group": self._group(release)}
        )
        found = (answer or {}).get("healthStatus") or ()
        return sum(each.get("healthState") == "HEALTHY" for each in found)

    def open_trial(self, path: str | None) -> None:
        """Send requests for one path to what is tried; None: no more."""
        named: dict[str, Any] = {"project": self.naming.project, "urlMap": self.naming.name}
        found = self.account.get("urlMaps", **named) or {}
        body = routes(self.naming, path)
        if "fingerprint" in found:
            body["fingerprint"] = found["fingerprint"]
        self.account.change("urlMaps", "patch", **named, body=body)

    @contextlib.contextmanager
    def trial(self, bundle: Bundle, seconds: float) -> Iterator[str]:
        """An address at which the tried release answers, and callers do not meet it.

        Raises:
            OutsideError: It does not answer in time.
        """
        self.open_trial(urlsplit(version_at("http://balancer", bundle)).path)
        try:
            with self._way_in() as url:
                place = version_at(url, bundle)
                until_reached(place, seconds, self.pause)
                yield place
        finally:
            self.open_trial(None)

    @contextlib.contextmanager
    def _way_in(self) -> Iterator[str]:
        """The balancer by its number, before the certificate's name leads to it."""
        if self.section.certificate is None:
            yield f"http://{self.provider.address}:{self.section.public_port}"
            return
        _, project, *_, name = self.section.certificate.split("/")
        found = self.account.get("sslCertificates", project=project, sslCertificate=name) or {}
        names = found.get("subjectAlternativeNames") or ()
        names = names or (found.get("managed") or {}).get("domains") or ("",)
        with by_tls(self.provider.address, self.section.public_port, names[0]) as url:
            yield url

    def answered(self, seconds: float) -> str:
        """Ask as callers do until they are answered; what was said at last, empty when well."""
        return answered(
            self.section.certificate is not None, self.provider.address,
            self.section.public_port, seconds, self.pause,
        )  # fmt: skip
