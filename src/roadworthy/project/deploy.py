"""`[deploy.NAME]`: where a model is to run, and how it is reached there."""

from __future__ import annotations

import ipaddress
import re

import msgspec

from roadworthy.project._range import Range

_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_HTTPS = re.compile(r"https://[^\s/]+(/\S*)?")
MAIL = re.compile(r"[^@\s,]+@[^@\s,]+\.[^@\s,]+")
_ACME = ("acme_directory", "acme_root", "acme_email")
_DOMAIN = re.compile(r"(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}")


class DeploySection(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="target"
):
    """What every `[deploy.NAME]` says; its `target` adds the rest.

    Attributes:
        model: What to deploy: a path, `name`, `name:version` or `name@alias`; None: the newest
            bundle of `[package] directory`.
        port: The public port; None: 443 with TLS, 80 without.
        domain: A public name, for which a certificate is asked for and renewed (ACME).
        acme_directory: Address of the ACME server that is asked, one of your own for instance;
            None: Let's Encrypt, and ZeroSSL when it fails.
        acme_root: The certificate (PEM file) by which that server is trusted; None: as any server.
        acme_email: Whom the ACME server writes to.
        tls_certificate: A certificate of your own (PEM file, chain included).
        tls_key: Its key.
        keep: Releases that stay on the host, for rollback.
        secrets: Environment variables whose values the server gets; their values are in no file of
            the project, no plan, no log and no process list.
        start_seconds: How long a new release may take to become ready.
    """

    model: str | None = None
    port: int | None = None
    domain: str | None = None
    acme_directory: str | None = None
    acme_root: str | None = None
    acme_email: str | None = None
    tls_certificate: str | None = None
    tls_key: str | None = None
    keep: int = 5
    secrets: tuple[str, ...] = ()
    start_seconds: int = 180

    @property
    def place(self) -> str:
        """Where, for people; the same place has the same text."""
        raise NotImplementedError

    @property
    def secured(self) -> bool:
        """Whether callers are spoken to by TLS."""
        return self.domain is not None or self.tls_certificate is not None

    @property
    def public_port(self) -> int:
        """The port that callers use."""
        return self.port or (443 if self.secured else 80)

    def ranges(self) -> list[Range]:
        """What values are allowed, for messages."""
        pair = (self.tls_certificate is None) == (self.tls_key is None)
        names = all(_VARIABLE.fullmatch(name) for name in self.secrets)
        known = self.domain is None or bool(_DOMAIN.fullmatch(self.domain))
        mail = self.acme_email is None or bool(MAIL.fullmatch(self.acme_email))
        server = self.acme_directory is None or bool(_HTTPS.fullmatch(self.acme_directory))
        acme = next((key for key in _ACME if getattr(self, key) is not None), "acme_directory")
        return [
            Range(server, "acme_directory", "an address, https://…"),
            Range(mail, "acme_email", "an e-mail address"),
            Range(
                self.domain is not None or getattr(self, acme) is None,
                acme,
                "left out when no domain is given",
            ),
            Range(
                self.acme_root is None or self.acme_directory is not None,
                "acme_root",
                "given together with acme_directory",
            ),
            Range(self.port is None or 1 <= self.port <= 65535, "port", "between 1 and 65535"),
            Range(pair, "tls_key", "given together with tls_certificate"),
            Range(known, "domain", "a domain name in lower case, like api.example.org"),
            Range(
                self.domain is None or self.tls_certificate is None,
                "domain",
                "left out when tls_certificate is given",
            ),
            Range(1 <= self.keep <= 100, "keep", "between 1 and 100"),
            Range(names, "secrets", "names of environment variables in capitals, not values"),
            Range(5 <= self.start_seconds <= 3600, "start_seconds", "between 5 and 3600"),
        ]


class SshSection(DeploySection, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="ssh"):
    """`target = "ssh"`: a host that SSH reaches, without a container engine.

    Attributes:
        host: `HOST`, `USER@HOST` or a name of your SSH configuration.
        ssh_port: Port of the SSH server; None: as the SSH configuration says.
        identity: Private key file; None: as the SSH configuration and agent say.
        known_hosts: File of known host keys; None: as the SSH configuration says.
        proxy: A command whose standard input and output reach the host's SSH server; None: as the
            SSH configuration says.
        firewall: Whether only SSH and the public port may be reached.
        upgrades: Whether the host installs security updates by itself.
        metrics_from: Networks that may read the host's own metrics, of Prometheus' node exporter
            on port 9100; none: it is not installed.
    """

    host: str
    ssh_port: int | None = None
    identity: str | None = None
    known_hosts: str | None = None
    proxy: str | None = None
    firewall: bool = True
    upgrades: bool = True
    metrics_from: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """The host."""
        return self.host

    def ranges(self) -> list[Range]:
        """What values are allowed, for messages."""
        # a name that begins with a dash would be an option of the ssh command
        named = bool(re.fullmatch(r"[A-Za-z0-9_][\w.@:%-]*", self.host))
        networks = all(map(_is_network, self.metrics_from))
        networks = networks and (self.firewall or not self.metrics_from)
        port = self.ssh_port is None or 1 <= self.ssh_port <= 65535
        return [
            *super().ranges(),
            Range(named, "host", "HOST, USER@HOST or a name of the SSH configuration"),
            Range(port, "ssh_port", "between 1 and 65535"),
            Range(networks, "metrics_from", "networks like 203.0.113.0/24, and firewall = true"),
        ]


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True
