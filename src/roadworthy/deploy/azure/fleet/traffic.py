"""Where a fleet's callers go: what its gateway says, and who is healthy."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from roadworthy.bundle import Bundle
from roadworthy.deploy.azure.fleet.gateway import CALLERS, NOBODY, pool_of, release_in, routes
from roadworthy.deploy.azure.fleet.provider import FleetProvider
from roadworthy.deploy.azure.fleet.wanted import GATEWAY
from roadworthy.deploy.azure.wanted import ADDRESS
from roadworthy.deploy.cloud.provider import MODEL
from roadworthy.deploy.cloud.trying import answered, by_tls, until_reached
from roadworthy.deploy.tunnel import version_at
from roadworthy.project import AzureSection

SERVING, BEFORE = "roadworthy-serving", "roadworthy-before"
"""Tags of the gateway: the release that callers get, and those before it."""
_SENT = ("sku", "autoscaleConfiguration", "sslPolicy", "sslCertificates", "gatewayIPConfigurations",
         "frontendIPConfigurations", "frontendPorts", "httpListeners", "requestRoutingRules",
         "probes", "backendHttpSettingsCollection")  # fmt: skip


class Traffic:
    """The gateway of a fleet.

    Args:
        provider: What is there.
        section: `[deploy.NAME]`.
        pause: Seconds between two looks.
    """

    def __init__(self, provider: FleetProvider, section: AzureSection, pause: float) -> None:
        self.provider = provider
        self.account = provider.account
        self.naming = provider.naming
        self.section = section
        self.pause = pause

    @property
    def _tags(self) -> dict[str, str]:
        return dict(self.provider.balancer.get("tags") or {})

    @property
    def serving(self) -> str | None:
        """The release that callers get."""
        return self._tags.get(SERVING) or None

    @property
    def before(self) -> tuple[str, ...]:
        """Releases that served and are there, the last one first."""
        found = self._tags.get(BEFORE, "").split(",")
        return tuple(
            each for each in found if each in self.provider.groups and each != self.serving
        )

    @property
    def sizes(self) -> dict[str, int]:
        """Release -> how many machines its scale set is to have."""
        return {
            release: int((there.get("sku") or {}).get("capacity") or 0)
            for release, there in self.provider.groups.items()
        }

    @property
    def address(self) -> str:
        """Where callers reach it."""
        told = self.provider.there.get(ADDRESS, {}).get("properties", {})
        return str(told.get("ipAddress", ""))

    def alone(self, release: str) -> bool:
        """Whether callers meet a release, and nothing is tried."""
        serving, tried, _ = _led(self.provider.balancer)
        return serving == release and tried == ""

    def placed(self, release: str) -> bool:
        """Whether a release has a pool."""
        return release in _pools(self.provider.balancer)

    def place(self, release: str) -> None:
        """Give a release a pool; those of releases that are gone are taken away."""
        self._send(self.provider.gateway(), with_pool=release)

    def look_at(self, release: str | None) -> None:
        """Let the gateway look at the machines of a release; who names it meets it; None: none."""
        found = self.provider.gateway()
        if release is None and _led(found)[1] == "":
            return
        model = self.naming.model or (found.get("tags") or {}).get(MODEL, "")
        version = (release or "").partition("-")[0]
        path = f"/models/{model}/versions/{version}/*"
        self._send(found, trial=(release, path) if release else None)

    def switch(self, release: str, before: Sequence[str], *, trial: bool) -> None:
        """Let callers reach a release, and write down who did before, in one change.

        Args:
            release: Who is to serve; empty: nobody.
            before: Those before it.
            trial: Whether the way by which it was tried stays.
        """
        found = self.provider.gateway()
        _, tried, path = _led(found)
        self._send(
            found, serving=release, trial=(tried, path) if trial and tried else None,
            tags={SERVING: release, BEFORE: ",".join(before)},
        )  # fmt: skip

    def _send(
        self, found: dict[str, Any], *, serving: str | None = None, with_pool: str = "",
        trial: tuple[str, str] | None = None, tags: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        """Send the gateway's document with other routes; everything else of it stays."""
        part = self.provider.parts[GATEWAY]
        callers = _led(found)[0] if serving is None else serving
        # a scale set that is there must keep its pool
        stay = {*self.provider.groups, *_used(found)} if with_pool else _pools(found)
        known = stay | ({with_pool, callers, trial[0] if trial else ""} - {""})
        body: dict[str, Any] = {key: found[key] for key in ("location", "zones") if found.get(key)}
        if found.get("identity"):
            listed = found["identity"].get("userAssignedIdentities") or ()
            whom: dict[str, Any] = {each: {} for each in listed}
            body["identity"] = {"type": "UserAssigned", "userAssignedIdentities": whom}
        wanted = part.body["properties"]
        body["properties"] = {key: wanted[key] for key in _SENT if key in wanted}
        body["properties"] |= routes(self.naming, known, callers, trial)
        body["tags"] = {**(found.get("tags") or {}), **(tags or {})}
        self.account.change("PUT", part.path, part.version, body)
        self.provider.there[GATEWAY] = self.provider.gateway()

    def looked_at(self, release: str) -> int:
        """How many machines of a release that is tried are healthy."""
        return self.healthy(release)

    def healthy(self, release: str) -> int:
        """How many machines of a release answer the gateway."""
        part = self.provider.parts[GATEWAY]
        answer = self.account.change("POST", f"{part.path}/backendhealth", part.version) or {}
        found: dict[str, str] = {}
        for pool in answer.get("backendAddressPools") or ():
            if str(pool["backendAddressPool"]["id"]).rpartition("/")[2] == pool_of(release):
                for settings in pool.get("backendHttpSettingsCollection") or ():
                    for each in settings.get("servers") or ():
                        found[str(each["address"])] = str(each.get("health"))
        return sum(each == "Healthy" for each in found.values())

    @contextlib.contextmanager
    def trial(self, bundle: Bundle, seconds: float) -> Iterator[str]:
        """An address at which the tried release answers, and callers do not meet it.

        Raises:
            OutsideError: It does not answer in time.
        """
        with self._way_in() as url:
            place = version_at(url, bundle)
            until_reached(place, seconds, self.pause)
            yield place

    @contextlib.contextmanager
    def _way_in(self) -> Iterator[str]:
        if self.section.certificate is None:
            yield f"http://{self.address}:{self.section.public_port}"
            return
        with by_tls(self.address, self.section.public_port, self.section.domain or "") as url:
            yield url

    def answered(self, seconds: float) -> str:
        """Ask as callers do until they are answered; what was said at last, empty when well."""
        return answered(
            self.section.certificate is not None, self.address, self.section.public_port, seconds,
            self.pause,
        )  # fmt: skip


def _pools(gateway: dict[str, Any]) -> set[str]:
    listed = (gateway.get("properties") or {}).get("backendAddressPools") or ()
    return {release_in(str(each["name"])) for each in listed} - {""}


def _used(gateway: dict[str, Any]) -> set[str]:
    """Releases whose pools machines are in."""
    listed = (gateway.get("properties") or {}).get("backendAddressPools") or ()
    used = [
        each for each in listed if (each.get("properties") or {}).get("backendIPConfigurations")
    ]
    return {release_in(str(each["name"])) for each in used} - {""}


def _led(gateway: dict[str, Any]) -> tuple[str, str, str]:
    """Whom callers get, who is tried, and by which path; empty: nobody."""
    maps = (gateway.get("properties") or {}).get("urlPathMaps") or ()
    found: dict[str, Any] = next(
        (each["properties"] for each in maps if each["name"] == CALLERS), {}
    )

    def named(place: dict[str, Any], key: str) -> str:
        name = str((place.get(key) or {}).get("id", "")).rpartition("/")[2]
        return release_in(name) if name != NOBODY else ""

    rules = [each["properties"] for each in found.get("pathRules") or ()]
    tried: dict[str, Any] = next((each for each in rules if named(each, "backendAddressPool")), {})
    return (
        named(found, "defaultBackendAddressPool"), named(tried, "backendAddressPool"),
        str((tried.get("paths") or [""])[0]),
    )  # fmt: skip
