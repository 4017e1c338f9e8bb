from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.deploy.plan import Plan, Price, Step, in_order, redone


def step(name: str, *needs: str, **values: object) -> Step:
    return Step(id=name, what=name, change="create", needs=needs, **values)  # type: ignore[arg-type]


@st.composite
def graphs(draw: st.DrawFn) -> list[Step]:
    """Steps that need only earlier ones, then shuffled."""
    count = draw(st.integers(0, 12))
    names = [f"s{number}" for number in range(count)]
    steps = [
        step(name, *(draw(st.sets(st.sampled_from(names[:place]))) if place else ()))
        for place, name in enumerate(names)
    ]
    return draw(st.permutations(steps))


@given(graphs())
def test_every_step_comes_once_and_after_what_it_needs(steps: list[Step]) -> None:
    found = in_order(steps)
    assert sorted(found, key=lambda each: each.id) == sorted(steps, key=lambda each: each.id)
    seen: set[str] = set()
    for each in found:
        assert set(each.needs) <= seen
        seen.add(each.id)


def test_steps_that_are_in_order_stay_as_they_are() -> None:
    steps = [step("b"), step("a"), step("c", "a")]
    assert list(in_order(steps)) == steps


def test_a_circle_and_a_double_name_are_faults() -> None:
    with pytest.raises(ValueError, match="circle"):
        in_order([step("a", "b"), step("b", "a")])
    with pytest.raises(ValueError, match="one id"):
        in_order([step("a"), step("a")])


def test_a_need_that_is_not_in_the_plan_counts_as_met() -> None:
    assert [each.id for each in in_order([step("a", "elsewhere")])] == ["a"]


def test_what_is_there_is_kept_and_the_rest_is_made() -> None:
    found = redone([step("a"), step("b"), step("c")], {"a": True, "b": False})
    assert [each.change for each in found] == ["keep", "create", "create"]


def test_prices_are_added_up_by_currency() -> None:
    price = Price(monthly=10.0, currency="USD", as_of="2026-01-01")
    steps = (step("a", price=price), step("b", price=price), step("c"))
    plan = Plan(deployment="d", place="p", model="m", version="v", release="r", steps=steps)
    assert plan.monthly == {"USD": 20.0}
