"""How a wanted document is compared with what a cloud says, and host keys read from a console."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from roadworthy.deploy.cloud.comparing import differences
from roadworthy.deploy.cloud.console import best_key, host_keys_in

SCALARS = st.booleans() | st.integers() | st.text(max_size=5)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3)
    ),
    max_leaves=8,
)
ED25519, ECDSA = "ssh-ed25519 " + "A" * 68, "ecdsa-sha2-nistp256 " + "B" * 80


@given(DOCUMENTS)
def test_a_document_does_not_differ_from_itself(document: Any) -> None:
    assert differences(document, document) == []


@given(st.dictionaries(st.sampled_from("abcd"), DOCUMENTS), DOCUMENTS)
def test_what_a_cloud_adds_is_no_difference(document: dict[str, Any], more: Any) -> None:
    assert differences(document, {**document, "added": more}) == []


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(), min_size=1), st.data())
def test_a_value_that_is_other_or_gone_is_named(document: dict[str, int], data: Any) -> None:
    key = data.draw(st.sampled_from(sorted(document)))
    assert differences(document, {**document, key: document[key] + 1}) == [
        f"{key}: {document[key] + 1}"
    ]
    gone = {name: value for name, value in document.items() if name != key}
    assert differences(document, gone) == [f"{key}: absent"]


def test_members_of_lists_are_known_by_their_names_and_case_does_not_count() -> None:
    wanted = {"rules": [{"name": "ssh", "port": "22"}, {"name": "web", "port": "80"}]}
    there = {"rules": [{"name": "web", "port": "80"}, {"name": "ssh", "port": "2222"},
                       {"name": "more"}]}  # fmt: skip
    assert differences(wanted, there) == ["rules ssh.port: 2222", "rules more: not wanted"]
    assert differences({"id": "/A/b"}, {"id": "/a/B"}) == []
    assert differences(["10.0.0.0/8", "::/0"], ["::/0", "10.0.0.0/8"]) == []
    assert differences({"list": ["a"]}, {}) == ["list: 0 in place of 1"]


def test_host_keys_are_those_of_the_last_block_and_nothing_else() -> None:
    block = "-----BEGIN SSH HOST KEY KEYS-----\r\n{}\r\n-----END SSH HOST KEY KEYS-----\r\n"
    old = block.format("ssh-ed25519 " + "C" * 68 + " root@host")
    new = block.format(f"{ECDSA} root@host\r\n{ED25519} root@host\r\nssh-dss AAAA root@host")
    assert host_keys_in(f"boot {old} boot {new} {ED25519[:-1]}Z") == (ECDSA, ED25519)
    assert best_key((ECDSA, ED25519)) == ED25519
    assert best_key((ECDSA,)) == ECDSA
    assert host_keys_in("") == host_keys_in(new.replace("END", "and")) == ()


@given(st.text())
def test_no_console_is_a_fault(console: str) -> None:
    assert host_keys_in(console) == ()
