"""Ids of children: readable while they are short, bounded always, the same for the same parent and key."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncjobs.core.child_ids import LONGEST_PATH, child_id, longest_key, path_before, step_child


def test_a_short_id_is_the_path() -> None:
    assert child_id("p", "1") == "p/1"
    assert child_id("p" * 120, "1234567") == "p" * 120 + "/1234567"  # 128 characters


@pytest.mark.parametrize("parent", ["p/" + "x" * 200, "p/~abc/" + "y" * 130, "r" * 512])
def test_a_long_one_has_its_root_and_a_digest(parent: str) -> None:
    made = child_id(parent, "cover")
    root, digest, key = made.split("/")
    assert parent.startswith(root)
    assert (digest[0], len(digest), key) == ("~", 33, "cover")
    assert len(made) <= LONGEST_PATH
    assert child_id(parent, "cover") == made
    assert child_id(parent + "x", "cover") != made


def test_what_an_earlier_version_called_it() -> None:
    parent = "p/" + "x" * 200
    assert path_before(parent, child_id(parent, "a/b")) == f"{parent}/a/b"
    assert path_before("p", child_id("p", "a")) is None
    assert path_before("r" * 512, child_id("r" * 512, "a")) is None  # it could not be stored


@pytest.mark.untraced
@settings(deadline=None)  # a busy machine breaks no rule
@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60), max_size=40))
def test_ids_stay_bounded_however_deep(keys: list[str]) -> None:
    made = "root"
    seen = {made}
    for key in keys:
        made = child_id(made, key)
        assert len(made) <= LONGEST_PATH + 60
        assert made not in seen
        seen.add(made)


def test_a_child_without_a_key_has_that_of_its_step() -> None:
    assert child_id("p", step_child("page/1", 2)) == "p/~page/1~/2"


def test_it_is_no_child_of_a_child_whose_key_is_that_of_the_step() -> None:
    inside = child_id("p", step_child("page/1", 1))
    assert inside not in {child_id(child_id("p", "page/1"), "1"), child_id("p", step_child("page", 1)) + "/1"}
    assert child_id(child_id("p", "a"), step_child("b", 1)) != child_id("p", step_child("a/b", 1))


@pytest.mark.parametrize("key", ["k" * 65, "a\nb", "\x00", "\u2028"])
def test_a_long_key_and_one_that_no_id_can_have_are_replaced_by_their_digest(key: str) -> None:
    made = step_child(key, 1)
    assert made.isprintable()
    assert len(made) == 36
    assert made != step_child(key + "x", 1)
    assert made == step_child(key, 1)


@pytest.mark.parametrize("parent", ["p", "p/" + "x" * 200])
def test_the_longest_key_makes_the_longest_id(parent: str) -> None:
    assert len(child_id(parent, "k" * longest_key(parent, 512))) == 512
