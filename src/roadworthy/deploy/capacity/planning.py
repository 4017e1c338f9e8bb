"""From a load and what a request costs to replicas, memory and price.

A worker is one process on one core with a queue of its own, and calls are spread over workers by
chance, as a Service spreads connections: each worker is an M/M/1 queue. Its time to answer is
exponential with rate mu - lambda (Kleinrock, Queueing Systems I, 1975, section 3.2), so that its
99 % quantile is ln(100) / (mu - lambda). Real service times vary less than exponential ones, which
makes the plan a careful one.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from roadworthy.deploy.capacity.measuring import Cost
from roadworthy.errors import InputError

_TAIL = math.log(100.0)
_HOURS = 730.0
"""Hours of a month."""
_SPARE_MEMORY = 1.5
"""Memory to request, in what was measured: batches and open connections take more."""


class Wish(NamedTuple):
    """What is wanted.

    Attributes:
        rps: Requests of one row a second, at the peak.
        p99: Seconds in which 99 % of them are answered, from the caller's side.
        network: Of these, seconds that the way there and back takes.
        zones: Zones that replicas are spread over; the load is carried when one is lost.
        most_busy: Share of a core's time that a worker may be busy.
        workers: Workers in a replica.
        core_hour: Price of a core for an hour.
        gb_hour: Price of a gigabyte of memory for an hour.
    """

    rps: float
    p99: float
    network: float = 0.001
    zones: int = 1
    most_busy: float = 0.7
    workers: int = 1
    core_hour: float | None = None
    gb_hour: float | None = None

    def check(self) -> None:
        """Refuse what is no load.

        Raises:
            InputError: With the option and what it may be.
        """
        rules = [
            (self.rps > 0, "--rps", "above 0"),
            (self.p99 > self.network >= 0, "--p99", "above --network"),
            (self.zones >= 1, "--zones", "1 or more"),
            (0 < self.most_busy < 1, "--most-busy", "between 0 and 1"),
            (self.workers >= 1, "--workers", "1 or more"),
            (min(self.core_hour or 0.0, self.gb_hour or 0.0) >= 0, "--core-hour", "0 or more"),
        ]
        for good, option, rule in rules:
            if not good:
                raise InputError(f"{option} must be {rule}", where=option)


class Capacity(NamedTuple):
    """What a load takes.

    Attributes:
        replicas: Pods or machines.
        workers: Workers in each, which is its cores.
        memory_mb: Memory of each.
        busy: Share of its time that a worker is busy.
        rps_each: Requests a second that a worker gets.
        p99: Seconds in which 99 % are answered, by the formula.
        survives: Replicas that may be lost with the promise kept.
        bound_by: What more replicas are for: `p99`, or `busy`.
        monthly: Price a month; None without prices.
        sent_gb_day: Gigabytes that callers send in a day at this rate.
        received_gb_day: Gigabytes of answers in a day.
    """

    replicas: int
    workers: int
    memory_mb: int
    busy: float
    rps_each: float
    p99: float
    survives: int
    bound_by: str
    monthly: float | None
    sent_gb_day: float
    received_gb_day: float


def plan_capacity(wish: Wish, cost: Cost) -> Capacity:
    """The least replicas that carry a load.

    Args:
        wish: The load, and what is promised.
        cost: What a request costs one core, as `measure` finds it.

    Raises:
        InputError: No number of replicas can keep the promise.
    """
    wish.check()
    if cost.microseconds <= 0:
        raise InputError("--microseconds must be above 0", where="--microseconds")
    rate = 1e6 / cost.microseconds
    by_tail = rate - _TAIL / (wish.p99 - wish.network)
    if by_tail <= 0:
        least = (_TAIL / rate + wish.network) * 1e3
        raise InputError(
            f"no number of replicas answers 99 % within {wish.p99 * 1e3:g} ms",
            where="--p99",
            fix=f"ask for more than {least:.3g} ms, or train with a smaller "
            "[train] max_microseconds",
        )
    by_use = wish.most_busy * rate
    needed = math.ceil(wish.rps / min(by_tail, by_use) / wish.workers)
    replicas = _with_a_zone_lost(needed, wish.zones)
    each = wish.rps / (replicas * wish.workers)
    memory = math.ceil(cost.memory_mb * _SPARE_MEMORY * wish.workers / 64) * 64
    day = wish.rps * 86400 / 1e9
    return Capacity(
        replicas=replicas,
        workers=wish.workers,
        memory_mb=memory,
        busy=each / rate,
        rps_each=each,
        p99=_TAIL / (rate - each) + wish.network,
        survives=replicas - needed,
        bound_by="p99" if by_tail < by_use else "busy",
        monthly=_price(wish, replicas, memory),
        sent_gb_day=day * cost.sent_bytes,
        received_gb_day=day * cost.received_bytes,
    )


def _with_a_zone_lost(needed: int, zones: int) -> int:
    """Replicas, evenly over the zones, of which enough are left without the fullest zone."""
    if zones == 1:
        return needed
    replicas = needed
    while replicas - math.ceil(replicas / zones) < needed:
        replicas += 1
    return replicas


def _price(wish: Wish, replicas: int, memory_mb: int) -> float | None:
    if wish.core_hour is None and wish.gb_hour is None:
        return None
    hour = (wish.core_hour or 0.0) * wish.workers + (wish.gb_hour or 0.0) * memory_mb / 1000
    return hour * replicas * _HOURS
