"""Failure at every step of apply and destroy: a rerun completes, and nothing is orphaned."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.deploy._base import There
from roadworthy.deploy.executor import run
from roadworthy.deploy.journal import Journal
from roadworthy.deploy.plan import Plan, Step, in_order, redone
from roadworthy.errors import OutsideError

NAMES = [f"part{number}" for number in range(6)]


class Place:
    """A place in memory: parts that are whole, or half made by a step that was cut off."""

    certain = False

    def __init__(self) -> None:
        self.parts: dict[str, str] = {}
        self.locked = False
        self.fail_at: tuple[str, str] | None = None
        self.performed: list[str] = []

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        if self.locked:
            raise OutsideError("another deployment is at work")
        self.locked = True
        try:
            yield
        finally:
            self.locked = False

    def observe(self) -> There:
        # half a part looks whole from outside: only the journal knows
        return There(steps=dict.fromkeys(self.parts, True))

    def _plan(self, steps: tuple[Step, ...]) -> Plan:
        return Plan(deployment="d", place="p", model="m", version="v", release="r", steps=steps)

    def plan(self, there: There) -> Plan:
        steps = [
            Step(id=name, what=name, change="create", needs=tuple(NAMES[:place][-1:]))
            for place, name in enumerate(NAMES)
        ]
        return self._plan(in_order(redone(steps, there.steps)))

    def plan_destroy(self, there: There) -> Plan:
        steps = [
            Step(id=f"-{name}", what=name, change="delete")
            for name in reversed(NAMES)
            if name in there.steps
        ]
        return self._plan(tuple(steps))

    def perform(self, step: Step) -> None:
        self.performed.append(step.id)
        fail = self.fail_at if self.fail_at and self.fail_at[0] == step.id else None
        if fail:
            self.fail_at = None
        if fail and fail[1] == "before":
            raise OutsideError("cut off before")
        name = step.id.removeprefix("-")
        if step.change == "delete":
            self.parts.pop(name)
        else:
            self.parts[name] = "half" if fail and fail[1] == "half" else "whole"
        if fail:
            raise OutsideError("cut off", where=step.id)


failures = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(["before", "half", "after"])), max_size=8
)


@contextlib.contextmanager
def journal() -> Iterator[Journal]:
    with tempfile.TemporaryDirectory() as folder:
        yield Journal(Path(folder) / "deep" / "journal.jsonl")


def silent(*_: object) -> None:
    pass


@settings(deadline=None, max_examples=40)
@given(failures)
def test_apply_that_is_run_again_after_any_failures_completes(cuts: list[tuple[str, str]]) -> None:
    place = Place()
    with journal() as kept:
        for cut in cuts:
            place.fail_at = cut
            with contextlib.suppress(OutsideError):
                run("apply", place, kept, silent, place.plan)  # type: ignore[arg-type]
            place.fail_at = None
        run("apply", place, kept, silent, place.plan)  # type: ignore[arg-type]
        assert place.parts == dict.fromkeys(NAMES, "whole")
        place.performed.clear()
        assert run("apply", place, kept, silent, place.plan).changes == ()  # type: ignore[arg-type]
        assert place.performed == []


@settings(deadline=None, max_examples=40)
@given(failures)
def test_destroy_that_is_run_again_after_any_failures_leaves_nothing(
    cuts: list[tuple[str, str]],
) -> None:
    place = Place()
    with journal() as kept:
        run("apply", place, kept, silent, place.plan)  # type: ignore[arg-type]
        for name, when in cuts:
            place.fail_at = (f"-{name}", when)
            with contextlib.suppress(OutsideError):
                run("destroy", place, kept, silent, place.plan_destroy)  # type: ignore[arg-type]
            place.fail_at = None
        run("destroy", place, kept, silent, place.plan_destroy)  # type: ignore[arg-type]
        assert place.parts == {}


def test_every_step_is_in_the_journal_before_it_is_done_and_told_with_its_end() -> None:
    place = Place()
    told: list[tuple[str, str]] = []
    with journal() as kept:
        place.fail_at = ("part1", "half")

        def record(plan: Plan, step: Step, kind: str, state: str, error: str) -> None:
            assert kept.lines()[-1].step == step.id
            told.append((step.id, state))

        with pytest.raises(OutsideError):
            run("apply", place, kept, record, place.plan)  # type: ignore[arg-type]
        assert told == [
            ("part0", "begun"), ("part0", "done"), ("part1", "begun"), ("part1", "failed"),
        ]  # fmt: skip
        assert kept.unfinished("apply") == {"part1"}
        assert kept.unfinished("destroy") == set()


def test_a_second_run_is_kept_away_while_one_is_at_work() -> None:
    place = Place()
    with journal() as kept, place.lock(), pytest.raises(OutsideError, match="at work"):
        run("apply", place, kept, silent, place.plan)  # type: ignore[arg-type]
    assert place.parts == {}


def test_a_journal_that_cannot_be_written_stops_the_step(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    place = Place()
    with pytest.raises(OutsideError, match="journal cannot be"):
        run("apply", place, Journal(tmp_path / "file" / "j"), silent, place.plan)  # type: ignore[arg-type]
    assert place.performed == []


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 400))
def test_a_torn_line_hides_no_other(cut: int) -> None:
    with journal() as kept:
        kept.write("1", "apply", "a", "begun")
        kept.write("1", "apply", "a", "done")
        kept.write("1", "apply", "b", "begun")
        whole = kept.file.read_bytes()
        last = len(whole) - len(whole.splitlines(keepends=True)[-1])
        kept.file.write_bytes(whole[: max(last, len(whole) - cut)])
        kept.write("2", "apply", "c", "begun")
        kinds = [(line.step, line.state) for line in kept.lines()]
        assert kinds[:2] == [("a", "begun"), ("a", "done")]
        assert kinds[-1] == ("c", "begun")
