"""What every `[deploy.NAME]` of a cloud says."""

from __future__ import annotations

import ipaddress
import re
from typing import Literal

import msgspec

from roadworthy.project._range import Range
from roadworthy.project.deploy import MAIL, DeploySection
from roadworthy.project.deploy_ci import Ci


class Instances(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many machines a fleet has.

    Attributes:
        min: At least.
        max: At most.
        cpu: Percent of their processors that machines are added or taken away for.
        standby: Releases before the serving one that keep running, for rollback in seconds.
    """

    min: int = 2
    max: int = 4
    cpu: int = 60
    standby: int = 0


class CloudSection(DeploySection, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A machine that is made in a cloud, and then deployed to by SSH as any host is.

    Attributes:
        identity: Private key file (OpenSSH, without a passphrase or held by your agent); its public
            key, beside it as FILE.pub, is given to the machine.
        ssh_from: Networks that may reach SSH, as CIDR blocks.
        allow_from: Networks that may reach the public port.
        disk_gb: Size of the machine's disk, which is encrypted.
        upgrades: Whether the machine installs security updates by itself.
        alarms: Whether the cloud watches the machine and rings.
        notify: E-mail addresses that alarms are sent to.
        database: Class of a PostgreSQL database beside it, as its cloud names classes, which comes
            with a bucket, for `[registry]`; None: there is none.
        database_from: Networks that may reach it.
        database_access: `private`: it has no public address, and is reached from its network alone.
        ci: The jobs of a CI system that may deploy by tokens of theirs; None: none.
    """

    identity: str
    ssh_from: tuple[str, ...]
    allow_from: tuple[str, ...] = ("0.0.0.0/0",)
    disk_gb: int = 20
    upgrades: bool = True
    alarms: bool = True
    notify: tuple[str, ...] = ()
    database: str | None = None
    database_from: tuple[str, ...] = ()
    database_access: Literal["public", "private"] = "public"
    ci: Ci | None = None

    @property
    def database_form(self) -> tuple[str, str]:
        """How classes of databases are named: a pattern, and one of them."""
        raise NotImplementedError

    @property
    def fleet(self) -> bool:
        """Whether it is a group of machines behind a balancer, none of which is logged in to."""
        return False

    @property
    def open_ssh(self) -> bool:
        """Whether SSH is reached over the network."""
        return not self.fleet

    def ranges(self) -> list[Range]:
        """What values are allowed, for messages."""
        networks = "IPv4 networks like 203.0.113.0/24, at least one"
        ssh = bool(self.ssh_from) or not self.open_ssh
        ssh = ssh and all(map(is_network, self.ssh_from))
        allowed = bool(self.allow_from) and all(map(is_network, self.allow_from))
        mails = all(MAIL.fullmatch(each) for each in self.notify)
        return [
            *super().ranges(),
            Range(bool(self.identity) or self.fleet, "identity", "the file of a private key"),
            Range(ssh, "ssh_from", networks),
            Range(allowed, "allow_from", networks),
            Range(8 <= self.disk_gb <= 16384, "disk_gb", "between 8 and 16384"),
            Range(mails, "notify", "e-mail addresses"),
            *self._database_ranges(),
            *(self.ci.ranges() if self.ci else ()),
        ]

    def _database_ranges(self) -> list[Range]:
        pattern, example = self.database_form
        known = self.database is None or bool(re.fullmatch(pattern, self.database))
        public = self.database_access == "public"
        networks = all(map(is_network, self.database_from))
        given = bool(self.database_from) == (self.database is not None and public)
        return [
            Range(known, "database", f"like {example}"),
            Range(public or self.database is not None, "database_access", "given with database"),
            Range(networks and given, "database_from", "IPv4 networks like 203.0.113.0/24, given "
                  "with database unless database_access is private"),
        ]  # fmt: skip


def is_network(text: str) -> bool:
    """Whether a text is an IPv4 network."""
    try:
        ipaddress.IPv4Network(text)
    except ValueError:
        return False
    return True
