"""Capacity: the formula agrees with a simulation, and the promise is kept."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.deploy.capacity import Cost, Wish, measure, plan_capacity, simulate
from roadworthy.errors import InputError

COST = Cost(100.0, 120.0, 400, 300)


@pytest.mark.parametrize("busy", [0.3, 0.6, 0.8])
def test_the_formulas_quantile_is_the_simulations(busy: float) -> None:
    formula = math.log(100.0) / (10_000 - busy * 10_000)
    assert simulate(busy * 10_000, 1, 100.0) == pytest.approx(formula, rel=0.08)
    assert simulate(busy * 10_000 * 7, 7, 100.0) == pytest.approx(formula, rel=0.08)
    assert simulate(busy * 10_000, 1, 100.0, service="constant") < formula


@settings(max_examples=25, deadline=None)
@given(
    rps=st.floats(10, 1e6),
    cost=st.floats(20, 5000),
    slack=st.floats(1.2, 50),
    workers=st.integers(1, 8),
    zones=st.integers(1, 4),
)
def test_a_plan_keeps_its_promise_in_simulation_also_when_a_zone_is_lost(
    rps: float, cost: float, slack: float, workers: int, zones: int
) -> None:
    network = 0.001
    p99 = network + slack * math.log(100.0) * cost / 1e6
    wish = Wish(rps, p99, network, zones, 0.7, workers)
    plan = plan_capacity(wish, COST._replace(microseconds=cost))
    left = plan.replicas - (math.ceil(plan.replicas / zones) if zones > 1 else 0)
    assert left >= plan.replicas - plan.survives >= 1
    found = simulate(rps, left * workers, cost, requests=200_000) + network
    assert found <= 1.1 * p99
    assert rps * cost / 1e6 / (left * workers) <= 0.7 + 1e-9


def test_no_more_is_planned_than_the_promise_takes() -> None:
    wish = Wish(50_000, 0.004, 0.001)
    plan = plan_capacity(wish, COST)
    assert (plan.bound_by, plan.replicas) == ("busy", 8)  # 10,000 a core at most, 70 % busy
    tight = plan_capacity(wish._replace(p99=0.0016), COST)
    assert tight.bound_by == "p99"
    fewer = tight.replicas - 2
    assert simulate(50_000, fewer, 100.0) + 0.001 > 0.0016


def test_prices_are_those_given_and_none_is_made_up() -> None:
    wish = Wish(10_000, 0.01)
    assert plan_capacity(wish, COST).monthly is None
    priced = plan_capacity(wish._replace(core_hour=0.04, gb_hour=0.005), COST)
    assert priced.monthly == pytest.approx(priced.replicas * 730 * (0.04 + 0.005 * 0.192))


@pytest.mark.parametrize(
    ("change", "match"),
    [({"p99": 0.0013}, "no number of replicas"), ({"rps": 0.0}, "--rps"),
     ({"p99": 0.0005}, "--p99"), ({"most_busy": 1.0}, "--most-busy"), ({"zones": 0}, "--zones")],
)  # fmt: skip
def test_what_cannot_be_planned_is_refused(change: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        plan_capacity(Wish(1000, 0.01)._replace(**change), COST)


def test_a_real_server_is_measured_by_its_own_processor_time(bundles: dict[str, Any]) -> None:
    bundle = bundles["linear"].bundle
    found = measure(bundle, 500)
    assert 10 < found.microseconds < 20_000
    assert 20 < found.memory_mb < 2_000
    assert found.received_bytes > len(msgspec.json.encode(bundle.golden[0].expected)) / 2


def test_the_verb_prints_a_plan_with_its_simulation(bundles: dict[str, Any]) -> None:
    command = [sys.executable, "-m", "roadworthy", "plan-capacity"]
    options = ["--rps", "50000", "--p99", "10ms", "--microseconds", "100", "--json"]
    path = str(bundles["linear"].bundle.path)
    run = subprocess.run([*command, path, *options], capture_output=True, check=True, timeout=120)
    told = msgspec.json.decode(run.stdout)
    assert told["plan"]["replicas"] == 8
    assert told["simulated_p99"]["exponential"] <= 0.010
    wrong = subprocess.run(
        [*command, path, *options[:2], "--p99", "soon"], capture_output=True, text=True, timeout=120
    )
    assert wrong.returncode == 2
    assert "no time" in wrong.stderr
