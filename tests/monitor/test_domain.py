"""A classifier on rows: it finds what no column shows alone, and is silent on usual days."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from benchmarks.drift_cases import NOTHING, Change, World, contract_of, day_effects, joined
from benchmarks.drift_peers import frame_of

from roadworthy.contract import Contract
from roadworthy.monitor.domain import Sample, domain_findings, tell_apart
from roadworthy.monitor.rows import LEVEL

BROKEN = Change(correlation=0.2)


@pytest.fixture(scope="module")
def contract() -> Contract:
    return contract_of(World(1).rows(2000))[0]


def test_a_correlation_that_breaks_is_found_and_its_columns_are_named(contract: Contract) -> None:
    world = World(3)
    base = Sample(frame_of(world.rows(4000)))
    told = tell_apart(base, Sample(frame_of(world.rows(1000, BROKEN))), contract)
    assert told is not None
    assert told.p_value < LEVEL
    assert set(list(told.columns)[:2]) == {"number3", "number4"}
    (finding,) = domain_findings(told, 1000, "the training table", None, frozenset())
    assert (finding.kind, finding.severity) == ("joint_drift", "info")
    assert "'number3'" in finding.what


def test_usual_rows_are_not_told_apart(contract: Contract) -> None:
    world = World(4)
    base = Sample(frame_of(world.rows(4000)))
    for seed in range(8):
        told = tell_apart(base, Sample(frame_of(world.rows(1000))), contract, seed=seed)
        assert told is not None
        assert domain_findings(told, 1000, "", None, frozenset()) == []


def weeks(change: Change, daily: float) -> tuple[Sample, Sample]:
    """Four weeks of days that differ, and one week after them."""
    world = World(5)
    effects = day_effects(world.random, 35, daily, daily)
    parts = [world.rows(150, change if day >= 28 else NOTHING, effects[day]) for day in range(35)]
    days = 20_000 + np.repeat(np.arange(35), 150)
    frame, young = frame_of(joined(parts)), days >= 20_028
    return (
        Sample(frame.filter(pl.Series(~young)), days[~young]),
        Sample(frame.filter(pl.Series(young)), days[young]),
    )


def test_days_that_always_differ_are_usual_and_a_break_beyond_them_is_not(
    contract: Contract,
) -> None:
    told = tell_apart(*weeks(NOTHING, 0.5), contract)
    assert told is not None
    assert told.p_value >= LEVEL
    told = tell_apart(*weeks(BROKEN, 0.1), contract)
    assert told is not None
    assert told.days == 28
    assert told.p_value < LEVEL
    (finding,) = domain_findings(told, 1050, "before", None, frozenset())
    assert finding.severity == "warning"
    known = frozenset(told.columns)
    assert domain_findings(told, 1050, "before", None, known)[0].severity == "info"


def test_few_rows_blank_columns_and_columns_left_out_are_no_crash(contract: Contract) -> None:
    world = World(6)
    base, few = Sample(frame_of(world.rows(1000))), Sample(frame_of(world.rows(50)))
    assert tell_apart(base, few, contract) is None
    assert tell_apart(few, base, contract) is None
    broken = frame_of(world.rows(500, BROKEN))
    blank = broken.with_columns(pl.lit(None, pl.Float64).alias("number0"))
    names = frozenset({"number0", "number3", "number4"})
    told = tell_apart(base, Sample(blank), contract, without=names)
    assert told is not None
    assert told.p_value >= LEVEL
    assert tell_apart(base, Sample(blank), contract, without=frozenset(contract.names)) is None
    assert domain_findings(None, 0, "", None, frozenset()) == []
