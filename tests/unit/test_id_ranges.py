"""The range of ids that begin alike ends where it should, for every text that a prefix can be."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncjobs.backends.sqlite.id_ranges import prefix_end

# Mostly characters at an edge: the last of all, those around the surrogates, where UTF-8 becomes longer.
EDGES = "\U0010ffff\U0010fffe\ud7ff\ue000\x00\x7f\x80\u07ff\u0800\uffff\U00010000az"
TEXTS = st.text(st.sampled_from(EDGES), max_size=5) | st.text(max_size=5)


@pytest.mark.parametrize(
    ("prefix", "end"),
    [
        ("", None),
        ("a", "b"),
        ("az", "a{"),
        ("a\x7f", "a\x80"),
        ("a\ud7ff", "a\ue000"),
        ("a\uffff", "a\U00010000"),
        ("a\U0010ffff", "b"),
        ("\ud7ff\U0010ffff\U0010ffff", "\ue000"),
        ("\U0010ffff", None),
        ("\U0010ffff\U0010ffff", None),
    ],
)
def test_where_it_ends(prefix: str, end: str | None) -> None:
    assert prefix_end(prefix) == end


@pytest.mark.untraced
@settings(deadline=None)  # a busy machine breaks no rule
@given(TEXTS, TEXTS)
def test_in_it_is_exactly_what_begins_so(prefix: str, other: str) -> None:
    for text in (other, prefix + other, prefix[:-1] + other):
        stored, begin, end = text.encode(), prefix.encode(), prefix_end(prefix)
        assert (begin <= stored and (end is None or stored < end.encode())) == text.startswith(prefix)
