"""Who a request comes from, and how much of the server each caller may take at once."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import time
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from roadworthy.serve.messages import Request
from roadworthy.serve.problems import RequestProblem

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


_ADDRESSES = 10_000
"""Addresses whose rates are kept: the ones that asked last."""
_PARAMETER = re.compile(r'([!#$%&\'*+.^_`|~\w-]+)=(?:"((?:[^"\\]|\\.)*)"|([^",;\s]*))', re.ASCII)


class Hop(NamedTuple):
    """What a proxy says of who asked it: an address, as it stands there, and http or https."""

    address: str
    scheme: str


class TrustedProxies:
    """Proxies whose word on the client's address is taken.

    Args:
        networks: Addresses or networks in CIDR notation.
        header: Where they write it: `x-forwarded-for` or `forwarded` (RFC 7239). The other one is
            not looked at: a proxy that does not write it hands on whatever the client made up.
    """

    def __init__(self, networks: Sequence[str], header: str = "x-forwarded-for") -> None:
        self._networks: list[Network] = [ipaddress.ip_network(one) for one in networks]
        self._header = header

    def __bool__(self) -> bool:
        return bool(self._networks)

    def __contains__(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self._networks)

    def client(self, request: Request) -> str:
        """The address of who asks.

        What trusted proxies say is read from its end, where our own wrote: the first address that
        is no trusted proxy's is the client's. What stands before it anybody may have made up.
        """
        return self._origin(request).address

    def is_secure(self, request: Request) -> bool:
        """Whether a trusted proxy says that the client speaks TLS with it."""
        return self._origin(request).scheme == "https"

    def _origin(self, request: Request) -> Hop:
        """The client, as far as trusted proxies know it, and how it speaks with the first one."""
        hop = Hop(request.client, "")
        if not self._networks or request.client not in self:
            return hop
        for told in reversed(self._told(request)):
            try:
                ipaddress.ip_address(told.address)
            except ValueError:
                return hop._replace(scheme=told.scheme)
            hop = told
            if told.address not in self:
                break
        return hop

    def _told(self, request: Request) -> list[Hop]:
        """What proxies wrote, the one next to us last."""
        headers = request.head.headers
        if self._header == "forwarded":
            return forwarded(headers.get("forwarded", ""))
        scheme = headers.get("x-forwarded-proto", "").strip().lower()
        return [Hop(one.strip(), scheme) for one in headers.get("x-forwarded-for", "").split(",")]


def forwarded(text: str) -> list[Hop]:
    """Read the header `Forwarded` (RFC 7239, section 4).

    Args:
        text: Its value; several headers are joined by commas.

    Returns:
        A hop for each element. One that cannot be read has no address and ends what is believed.
    """
    hops = []
    for element in re.findall(r'(?:"(?:[^"\\]|\\.)*"|[^,"]|")+', text):
        pairs = [_PARAMETER.fullmatch(pair.strip()) for pair in _pairs(element)]
        told = {pair[1].lower(): pair[2] or pair[3] or "" for pair in pairs if pair is not None}
        whole = len(told) == len(pairs)  # neither unreadable nor twice
        hops.append(
            Hop(_node(told.get("for", "")), told.get("proto", "").lower()) if whole else _NONE
        )
    return hops


_NONE = Hop("", "")


def _pairs(element: str) -> list[str]:
    return re.findall(r'(?:"(?:[^"\\]|\\.)*"|[^;"]|")+', element)


def _node(text: str) -> str:
    """The address in `192.0.2.1:80`, `[2001:db8::1]:80`, or either without a port."""
    found = re.fullmatch(r"\[([^\]]*)\](?::\w+)?|([^:\[\]]*)(?::\w+)?", text, re.ASCII)
    return (found[1] or found[2] or "") if found else ""


class Bucket:
    """A token bucket: so many requests a second, so many at once."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = max(1, burst)
        self._level = float(self._burst)
        self._at = time.monotonic()

    def take(self) -> float:
        """Take one; returns the seconds to wait when there is none."""
        now = time.monotonic()
        self._level = min(self._burst, self._level + (now - self._at) * self._rate)
        self._at = now
        if self._level < 1:
            return (1 - self._level) / self._rate
        self._level -= 1
        return 0.0


class AddressRates:
    """Holds every client address to a rate; of an IPv6 network of 64 bits, all together.

    Args:
        rate: Requests a second.
        burst: Requests that may come at once.
    """

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def check(self, address: str) -> None:
        """Let a request through; RequestProblem 429 for one that comes too soon."""
        if ":" in address:
            address = _network_of(address)
        bucket = self._buckets.get(address)
        if bucket is None:
            bucket = self._buckets[address] = Bucket(self._rate, self._burst)
            if len(self._buckets) > _ADDRESSES:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(address)
        if (wait := bucket.take()) > 0:
            raise too_often("this address asks", wait)


def too_often(who: str, wait: float) -> RequestProblem:
    """The refusal of one who asks more often than its rate."""
    seconds = str(max(1, round(wait + 0.5)))
    what = f"{who} more often than allowed: wait"
    return RequestProblem(429, what, headers=(("retry-after", seconds),))


def _network_of(address: str) -> str:
    try:
        found = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((found, 64), strict=False))


class InFlight:
    """Requests at work, together and of each caller.

    Args:
        limit: Most together.
        each: Most of one caller; None for no limit of its own.
    """

    def __init__(self, limit: int, each: int | None) -> None:
        self._limit = limit
        self._each = each
        self._of: Counter[str] = Counter()
        self._together = 0

    def check(self, caller: str, each: int | None = None) -> None:
        """Refuse one more.

        Raises:
            RequestProblem: There are enough, of this caller (429) or altogether (503).
        """
        again = (("retry-after", "1"),)
        most = self._each if each is None else each
        if most is not None and self._of[caller] >= most:
            what = f"more than {most} of your large requests at once: wait for an answer"
            raise RequestProblem(429, what, headers=again)
        if self._together >= self._limit:
            what = "too many large requests are being answered: try again"
            raise RequestProblem(503, what, headers=again)

    @contextlib.contextmanager
    def working(self, caller: str) -> Iterator[None]:
        """Count a request while it is worked on."""
        self._together += 1
        self._of[caller] += 1
        try:
            yield
        finally:
            self._together -= 1
            self._of[caller] -= 1
            if not self._of[caller]:
                del self._of[caller]
