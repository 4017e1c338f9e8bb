"""Who a request comes from, and how much of the server each caller may take at once."""

from __future__ import annotations

import contextlib
import ipaddress
from collections import Counter
from collections.abc import Iterator, Sequence

from roadworthy.serve.messages import Request
from roadworthy.serve.problems import RequestProblem

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class TrustedProxies:
    """Proxies whose word on the client's address is taken.

    Args:
        networks: Addresses or networks in CIDR notation.
    """

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks: list[Network] = [ipaddress.ip_network(one) for one in networks]

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

        A trusted proxy's `X-Forwarded-For` is read from its end, where our own proxies wrote: the
        first address that is no trusted proxy's is the client's. What stands before it anybody may
        have made up.
        """
        if not self._networks or request.client not in self:
            return request.client
        address = request.client
        for text in reversed(request.head.headers.get("x-forwarded-for", "").split(",")):
            given = text.strip()
            try:
                ipaddress.ip_address(given)
            except ValueError:
                return address
            address = given
            if given not in self:
                return address
        return address

    def is_secure(self, request: Request) -> bool:
        """Whether a trusted proxy says that the client speaks TLS with it."""
        told = request.head.headers.get("x-forwarded-proto", "").strip().lower()
        return told == "https" and request.client in self


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
