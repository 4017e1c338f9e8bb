"""A plan: what has to be done, in order, as plain data that can be printed, compared and kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

Change = Literal["create", "keep", "delete"]


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """What a step's resource costs, by a price table of a stated day.

    Attributes:
        monthly: A month; None: it is paid by use alone.
        currency: Its currency.
        as_of: Day of the price table.
        by_use: What is paid by use, in words.
    """

    monthly: float | None
    currency: str
    as_of: str
    by_use: str = ""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a plan.

    Attributes:
        id: Its name, unique in the plan.
        what: What it does, in words.
        change: `create` what is absent or other than wanted, `keep` what is there, `delete`.
        document: What is asked for, in the target's own form; never a secret.
        needs: Ids of steps that must be done before.
        command: A command line that does the same by hand.
        price: What the resource costs, where a price table covers it.
        paid: Whether it costs money, covered or not.
    """

    id: str
    what: str
    change: Change
    document: dict[str, Any] = {}
    needs: tuple[str, ...] = ()
    command: str = ""
    price: Price | None = None
    paid: bool = False


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Steps in order.

    Attributes:
        deployment: Name of the deployment.
        place: Where, for people.
        model: The model's name.
        version: Its version; of a teardown the one that is serving, if any.
        release: What the target calls this version with these settings.
        steps: In order.
    """

    deployment: str
    place: str
    model: str
    version: str
    release: str
    steps: tuple[Step, ...]

    @property
    def changes(self) -> tuple[Step, ...]:
        """The steps that would do something."""
        return tuple(step for step in self.steps if step.change != "keep")

    @property
    def monthly(self) -> dict[str, float]:
        """Currency -> what all priced steps cost a month."""
        sums: dict[str, float] = {}
        for step in self.steps:
            price = step.price
            if price is not None and price.monthly is not None and step.change != "delete":
                sums[price.currency] = sums.get(price.currency, 0.0) + price.monthly
        return sums

    @property
    def uncovered(self) -> tuple[str, ...]:
        """Ids of steps whose resources cost money, but how much no price table says."""
        return tuple(
            step.id for step in self.steps
            if step.paid and step.price is None and step.change != "delete"
        )  # fmt: skip


def in_order(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Steps such that each comes after what it needs, otherwise as given.

    A need that is not among the steps is met: its step was done before.

    Raises:
        ValueError: Two steps have one id, or steps need each other in a circle.
    """
    waiting = {step.id: step for step in steps}
    if len(waiting) != len(steps):
        raise ValueError("two steps have one id")
    found: dict[str, Step] = {}
    while waiting:
        ready = next((s for s in waiting.values() if not waiting.keys() & set(s.needs)), None)
        if ready is None:
            raise ValueError(f"steps need each other in a circle: {', '.join(waiting)}")
        found[ready.id] = waiting.pop(ready.id)
    return tuple(found.values())


def redone(steps: Sequence[Step], there: Mapping[str, bool]) -> tuple[Step, ...]:
    """Steps as what is there demands: what is as wanted is kept, the rest is made.

    Args:
        steps: Wanted, all with the change `create`.
        there: Step's id -> whether it is there as wanted; absent: it is not.
    """
    return tuple(
        msgspec.structs.replace(step, change="keep" if there.get(step.id) else "create")
        for step in steps
    )
