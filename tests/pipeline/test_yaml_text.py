"""Plain data as YAML."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.pipeline.yaml_text import Noted, emit

TEXT = st.text(st.characters(blacklist_categories=["Cs"]))
LINES = st.text("ab :#'\"\n$|>-{}[]%@,!&*?0.~", max_size=20)
SCALARS = TEXT | LINES | st.booleans() | st.integers(-9, 9999)
# YAML bounds a key that stands before its value on one line to 1,024 characters
KEYS = st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=90).filter(
    lambda key: key != "on"
) | st.sampled_from(["name", "uses", "runs-on", "a b", "1"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3)
)


@given(st.dictionaries(KEYS, VALUES, max_size=3))
def test_what_is_written_is_read_back(value: dict[str, Any]) -> None:
    assert yaml.safe_load(emit(value)) == value


@given(st.dictionaries(KEYS, VALUES, min_size=1, max_size=3), st.integers(0, 3))
def test_it_may_stand_deeper(value: dict[str, Any], depth: int) -> None:
    outer = "".join(f"{'  ' * level}k:\n" for level in range(depth))
    read = yaml.safe_load(outer + emit(value, depth))
    for _ in range(depth):
        read = read["k"]
    assert read == value


def test_scripts_are_blocks_and_pins_have_comments() -> None:
    text = emit({"run": "one\ntwo\n", "uses": Noted("a/b@123", "v1")})
    assert text == "run: |\n  one\n  two\nuses: a/b@123 # v1\n"


def test_words_that_yaml_takes_for_something_else_are_quoted() -> None:
    assert emit({"a": "on", "b": "3.12", "c": "x: y", "d": "null"}) == (
        'a: "on"\nb: "3.12"\nc: "x: y"\nd: "null"\n'
    )
