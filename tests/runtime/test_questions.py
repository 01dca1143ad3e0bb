"""Questions: what can be asked, how large it may be, and which default it may have."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import UNSET

from asyncjobs.core.codec import decode_value
from asyncjobs.core.gates import decode_question, encode_question
from asyncjobs.exceptions import ConfigurationError, NotSerializableError
from asyncjobs.runtime.answer_types import AnswerType
from asyncjobs.runtime.questions import MAX_BYTES, checked_question

LARGEST = 1 << 20


def asked(question: Any = "?", **options: Any) -> Any:
    kind = options.pop("answer_type", None)
    answer_type = None if kind is None else AnswerType(kind)
    return checked_question(question, answer_type=answer_type, largest=LARGEST, **options)


def test_a_question_is_stored_as_it_was_asked() -> None:
    found = asked("Which?", choices=("a", "b"), reject_on=["b"])
    assert (found.question, found.choices, found.schema, found.reject_on, found.default) == (
        "Which?",
        ("a", "b"),
        None,
        ("b",),
        None,
    )
    assert decode_question(encode_question(found)) == found
    assert asked(answer_type=int).schema == {"type": "integer"}


@pytest.mark.parametrize("question", ["", "  \n", 5, None, b"x", ["?"], "\ud83d"])
def test_a_question_is_a_text(question: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        asked(question)
    assert caught.value.field == "question"


def test_question_choices_and_schema_together_are_bounded() -> None:
    for options in ({"question": "x" * MAX_BYTES}, {"choices": [f"{i:02}" + "€" * 198 for i in range(50)]}):
        with pytest.raises(ConfigurationError, match="bytes, more than 16,384") as caught:
            asked(**options)
        assert "metadata" in str(caught.value.hint)
    asked("x" * (MAX_BYTES - 200))


@pytest.mark.parametrize(
    "choices",
    ["ab", [], [""], ["a", "a"], ["a", 5], [None], 5, [f"{i}" for i in range(51)], ["x" * 201], ["\ud83d"]],
)
def test_choices_are_one_to_fifty_different_texts(choices: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        asked(choices=choices)
    assert caught.value.field.startswith("choices")
    assert len(asked(choices=[f"{i}" for i in range(50)]).choices) == 50


@pytest.mark.parametrize(
    ("options", "default", "read"),
    [
        ({}, True, True),
        ({"choices": ["a", "b"]}, "a", "a"),
        ({"answer_type": int}, 3, 3),
        ({"answer_type": int | None}, None, None),
        ({"answer_type": bool}, False, False),
    ],
)
def test_a_default_is_an_answer_that_fits(options: dict[str, Any], default: Any, read: Any) -> None:
    found = asked(default=default, timeout=60, **options)
    assert decode_value(found.default) == read
    assert asked(default=UNSET, **options).default is None


@pytest.mark.parametrize(
    ("options", "default"),
    [
        ({}, False),
        ({}, None),
        ({"choices": ["a", "b"]}, "c"),
        ({"choices": ["a", "b"], "reject_on": ["b"]}, "b"),
        ({"answer_type": int}, "3"),
        ({"answer_type": int}, None),
        ({"answer_type": list[int]}, ["x"]),
    ],
)
def test_a_default_that_is_no_answer_is_refused_by_its_name(options: dict[str, Any], default: Any) -> None:
    with pytest.raises(ConfigurationError, match="^default") as caught:
        asked(default=default, timeout=60, **options)
    assert caught.value.field == "default"


def test_a_default_without_a_deadline_would_never_be_the_answer() -> None:
    with pytest.raises(ConfigurationError, match="there is no timeout") as caught:
        asked(default=True)
    assert (caught.value.field, caught.value.hint) == ("default", "give timeout=, or leave default= out")


def test_a_default_that_is_too_large_is_refused() -> None:
    with pytest.raises(NotSerializableError, match=r"^\$\.default is"):
        checked_question("?", answer_type=AnswerType(str), default="x" * 2000, timeout=1, largest=1000)
