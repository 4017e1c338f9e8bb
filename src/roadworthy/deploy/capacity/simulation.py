"""Simulate the queues of a plan: what the formula says is checked against what happens."""

from __future__ import annotations

from typing import Literal

import numpy as np

Service = Literal["exponential", "constant"]


def simulate(
    rps: float,
    workers: int,
    microseconds: float,
    *,
    service: Service = "exponential",
    requests: int = 400_000,
    seed: int = 0,
) -> float:
    """Seconds in which 99 % of requests are answered, without the network.

    Requests come by a Poisson process and go to workers by chance; each worker answers in the
    order of arrival. Waits follow Lindley's recursion (1952), solved by a running minimum.

    Args:
        rps: Requests a second, of all workers together.
        workers: Queues.
        microseconds: Mean time of service.
        service: How it varies: not at all, or as much as an exponential.
        requests: How many are simulated; of many workers so many of one are.
        seed: Of chance.
    """
    random = np.random.default_rng(seed)
    # splitting a Poisson process by chance makes independent ones: all workers are as this one
    gaps = random.exponential(workers / rps, requests)
    mean = microseconds / 1e6
    times = (
        random.exponential(mean, requests) if service == "exponential" else np.full(requests, mean)
    )
    steps = np.concatenate([[0.0], times[:-1] - gaps[1:]])
    walk = np.cumsum(steps)
    waits = walk - np.minimum(np.minimum.accumulate(walk), 0.0)
    settled = (waits + times)[requests // 10 :]  # it began empty
    return float(np.quantile(settled, 0.99))
