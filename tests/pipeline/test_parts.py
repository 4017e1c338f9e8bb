"""Files that we and a person write together."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.errors import InputError
from roadworthy.pipeline.parts import Difference, Part, Plan, merge

TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\r"), max_size=40)
FREE = TEXT.filter(lambda text: "roadworthy:" not in text).map(
    lambda text: "".join(f"# {line}\n" for line in text.split("\n"))
)
NAMES = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=4, unique=True)
BODIES = st.lists(st.text("xyz é'\"", min_size=1, max_size=9), min_size=1, max_size=3).map(
    lambda lines: "".join(f"  {line.strip()}.\n" for line in lines)
)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    parts = tuple(Part(name, draw(BODIES)) for name in draw(NAMES))
    return Plan("file.yml", "#", "About.", parts)


PLAN = Plan("ci.yml", "#", "About.", (Part("top", "jobs:\n"), Part("one", "  a: 1\n")))


def written(plan: Plan) -> str:
    return merge(None, plan).text


def states(text: str, plan: Plan, **options: object) -> list[tuple[str, str]]:
    return [tuple(each) for each in merge(text, plan, **options).differences]  # type: ignore[arg-type]


@given(plans())
def test_what_was_just_written_does_not_differ(plan: Plan) -> None:
    text = written(plan)
    assert merge(text, plan) == (text, ())


@given(plans(), plans())
def test_merging_twice_is_merging_once(old: Plan, new: Plan) -> None:
    once = merge(written(old), new).text
    assert merge(once, new).text == once


@given(plans(), plans(), st.data())
def test_what_a_person_wrote_between_parts_stays_to_the_letter(
    old: Plan, new: Plan, data: st.DataObject
) -> None:
    pieces = re.split(r"(?<=\n)(?=[ ]*# roadworthy:begin)", written(old))
    notes = [data.draw(FREE) for _ in pieces]
    text = "".join(piece + note for piece, note in zip(pieces, notes, strict=True))
    merged = merge(text, new).text
    place = 0
    for note in notes:
        place = merged.index(note, place) + len(note)


@given(plans(), plans(), st.data())
def test_a_part_that_a_person_changed_is_never_overwritten(
    old: Plan, new: Plan, data: st.DataObject
) -> None:
    part = data.draw(st.sampled_from(old.parts))
    changed = part.body + "  mine: true\n"
    begin = re.search(rf"# roadworthy:begin {part.name} \w+\n", written(old))
    assert begin
    text = written(old)[: begin.end()] + changed + written(old)[begin.end() + len(part.body) :]
    merged = merge(text, new)
    assert changed in merged.text
    assert Difference(part.name, "edited") in merged.differences


def test_a_new_part_comes_after_the_one_before_it() -> None:
    more = PLAN._replace(parts=(PLAN.parts[0], Part("zero", "  z: 0\n"), PLAN.parts[1]))
    merged = merge(written(PLAN), more)
    assert merged.differences == (Difference("zero", "missing"),)
    assert [line for line in merged.text.split("\n") if line[:1] in ("j", " ")] == [
        "jobs:", *re.findall(r"(?m)^  # .*zero.*$|^  z: 0$", merged.text),
        *re.findall(r"(?m)^  # .*one.*$|^  a: 1$", merged.text),
    ]  # fmt: skip


def test_an_outdated_part_is_written_anew_and_a_surplus_one_taken_out() -> None:
    other = PLAN._replace(parts=(PLAN.parts[0], Part("two", "  b: 2\n")))
    assert states(written(PLAN), other) == [("one", "surplus"), ("two", "missing")]
    assert "a: 1" not in merge(written(PLAN), other).text
    newer = PLAN._replace(parts=(PLAN.parts[0], Part("one", "  a: 9\n")))
    assert states(written(PLAN), newer) == [("one", "outdated")]
    assert "a: 9" in merge(written(PLAN), newer).text


def test_a_part_that_a_person_took_out_stays_out() -> None:
    text = re.sub(r"  # roadworthy:begin one.*end one\n", "", written(PLAN), flags=re.DOTALL)
    assert merge(text, PLAN) == (text, (Difference("one", "removed"),))


def test_a_part_that_a_person_owns_is_not_told_of() -> None:
    edited = written(PLAN).replace("a: 1", "a: 2")
    assert states(edited, PLAN) == [("one", "edited")]
    assert states(edited, PLAN, own=["one"]) == []


def test_a_part_changed_into_what_we_would_write_is_ours_again() -> None:
    newer = PLAN._replace(parts=(PLAN.parts[0], Part("one", "  a: 2\n")))
    merged = merge(written(PLAN).replace("a: 1", "a: 2"), newer)
    assert merged.differences == ()
    assert merged.text == written(newer)


def test_a_file_without_our_marks_is_a_persons_and_stays() -> None:
    assert merge("jobs: {}\n", PLAN) == ("jobs: {}\n", (Difference("", "foreign"),))
    serves = PLAN._replace(suffices="/ours.yml")
    assert merge("include: /ours.yml\n", serves).differences == ()


def test_the_ends_of_lines_stay_as_they_were() -> None:
    windows = written(PLAN).replace("\n", "\r\n")
    assert merge(windows, PLAN) == (windows, ())
    newer = PLAN._replace(parts=(PLAN.parts[0], Part("one", "  a: 9\n")))
    merged = merge(windows, newer).text
    assert merged == written(newer).replace("\n", "\r\n")


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        (r"  # roadworthy:end one\n", "", "has no end"),
        (r"  # roadworthy:begin one \w+\n", "", "never began"),
        (r"(?s)(  # roadworthy:begin one.*)", r"\1\1", "begins where it may not"),
    ],
)
def test_marks_without_partner_are_told_and_nothing_is_merged(
    old: str, new: str, what: str
) -> None:
    broken = re.sub(old, new, written(PLAN), count=1)
    with pytest.raises(InputError, match=what):
        merge(broken, PLAN)
