"""Where the parts of a deployment are on its host."""

from __future__ import annotations

import msgspec

ROOT = "/opt/roadworthy"
SETTINGS = "/etc/roadworthy"
UNITS = "/etc/systemd/system"
USER = "roadworthy"
PROXY_USER = "roadworthy-proxy"


class Layout(msgspec.Struct, frozen=True):
    """The places of one deployment; all of them, and nothing else, carry its name."""

    name: str

    @property
    def root(self) -> str:
        """Everything that stays: releases, runtimes, evidence."""
        return f"{ROOT}/{self.name}"

    @property
    def settings(self) -> str:
        """Settings of the proxy, certificates and secrets."""
        return f"{SETTINGS}/{self.name}"

    @property
    def certificate(self) -> str:
        """The given certificate and its key, in one file."""
        return f"{self.settings}/tls/pair.pem"

    @property
    def authority(self) -> str:
        """The certificate by which the ACME server is trusted."""
        return f"{self.settings}/tls/acme-root.pem"

    @property
    def marker(self) -> str:
        """The file that says whose all this is."""
        return f"{self.root}/deployment.json"

    @property
    def current(self) -> str:
        """The link to the socket of the release that callers get."""
        return f"{self.root}/current.sock"

    @property
    def before(self) -> str:
        """The releases that served before, the last one first, one a line."""
        return f"{self.root}/before"

    @property
    def state(self) -> str:
        """What the server may write: the prediction log."""
        return f"/var/lib/roadworthy-{self.name}"

    @property
    def service(self) -> str:
        """The template unit of releases."""
        return f"roadworthy-{self.name}@"

    @property
    def proxy(self) -> str:
        """The unit of the proxy."""
        return f"roadworthy-{self.name}-proxy.service"

    def release(self, release: str) -> str:
        """Folder of a release."""
        return f"{self.root}/releases/{release}"

    def runtime(self, runtime: str) -> str:
        """Folder of a runtime."""
        return f"{self.root}/runtimes/{runtime}"

    def socket(self, release: str) -> str:
        """Socket of a release."""
        return f"/run/roadworthy-{self.name}/{release}.sock"

    def secrets(self, release: str) -> str:
        """The secrets of a release, encrypted for this host alone (systemd-creds)."""
        return f"{self.settings}/secrets/{release}.cred"

    def unit(self, release: str) -> str:
        """The unit of a release."""
        return f"{self.service}{release}.service"

    def stamp(self, step: str) -> str:
        """The stamp of a step of the host."""
        return f"{self.root}/done/{step}"
