"""Models of the tracker coerce, refuse and dump as those of pydantic did."""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any

import pydantic
import pytest

from asyncjobs.compat import Job, JobStatus, JobType, PipelineState
from asyncjobs.exceptions import ConfigurationError
from tests.compat import old_models

BASE = {"id": "a", "type": "image"}
FOLDERS = {f"{name}_dir": f"out/{name}" for name in ("base", "characters", "images", "videos", "audio", "output")}


class Text(StrEnum):
    X = "x"
    THREE = "3"


class Whole(int, Enum):
    THREE = 3


class Keyed(str):
    pass


TEXTS = ["x", "", "3", 3, 3.0, None, b"x", b"\xff", bytearray(b"y"), Text.X, Keyed("k"), True, [], {}, Path("p")]
WHOLES = [
    *(
        3,
        "3",
        " 3 ",
        "-3",
        "3.0",
        "3.",
        "3.5",
        "1_000",
        "_1",
        "1__0",
        "x",
        "",
        "0x3",
        "1e3",
        3.0,
        3.5,
        float("nan"),
    ),
    *(float("inf"), True, None, b"3", b"x", Decimal(3), Decimal("3.5"), Whole.THREE, [], 10**30, "9" * 5000),
]
BOOLEANS = [
    *(True, False, 0, 1, 2, 0.0, 1.0, 0.5, "true", "TRUE", "yes", "on", "off", "n", "f", "1", "0", "x", "", " true"),
    *(None, b"true", b"\xff", []),
]
MEMBERS = ["pending", "PENDING", JobStatus.FAILED, "cancelled", None, 1, b"pending", [], Text.X, ""]
MOMENTS = [
    *(datetime(2024, 1, 2, 3, 4, 5, 6), datetime(2024, 1, 2, tzinfo=UTC), date(2024, 1, 2), "2024-01-02"),
    *(
        "2024-01-02T03:04:05",
        "2024-01-02 03:04",
        "2024-01-02T03:04:05.678901",
        "2024-01-02T03:04:05Z",
        "2024-01-02T03:04",
    ),
    *("2024-01-02T03:04:05+02:00", "2024-01-02T03:04:05-0330", "2024-13-01", "2024-01-02T25:00:00", "yesterday", ""),
    *(1_700_000_000, "1700000000", 1_700_000_000_000, 1.5, None, [], "20240102", "2024-W01-1", b"2024-01-02T03:04:05"),
    *(float("nan"), 10**30, "2024-01-02_03:04:05", "2024-01-02t03:04:05z"),
]
MAPPINGS = [{}, {"a": 1}, {1: 2}, {b"k": 1}, {Text.X: 1}, None, [], [("a", 1)], "x"]
PATHS = ["a/b", Path("a"), 1, None, ""]
SCREENPLAYS = [{}, {"scenes": []}, None, [], "x"]
JOBS = [[], None, "x", {}, [BASE], (BASE,), [{"id": "a"}], [1], [{"id": 1, "type": "image"}], iter([BASE])]

CASES = [
    *[("Job", "id", value) for value in TEXTS],
    *[("Job", name, value) for name in ("scene_id", "error", "output_path") for value in TEXTS],
    *[("Job", name, value) for name in ("character_id", "retry_count", "max_retries") for value in WHOLES],
    *[("Job", "status", value) for value in MEMBERS],
    *[("Job", "type", value) for value in ("image", "character_reference", "movie", JobType.VIDEO, None, 3)],
    *[("Job", name, value) for name in ("created_at", "updated_at") for value in MOMENTS],
    *[("Job", "metadata", value) for value in MAPPINGS],
    *[("PipelineState", "movie_id", value) for value in TEXTS],
    *[("PipelineState", "base_dir", value) for value in PATHS],
    *[("PipelineState", "screenplay_dict", value) for value in SCREENPLAYS],
    *[("PipelineState", "images_complete", value) for value in BOOLEANS],
    *[("PipelineState", "jobs", value) for value in JOBS],
]


@pytest.mark.parametrize(("model", "field", "value"), CASES)
def test_a_value_is_coerced_or_refused_as_by_pydantic(model: str, field: str, value: Any) -> None:
    now = datetime(2024, 5, 6)
    given = {**BASE, "created_at": now, "updated_at": now} if model == "Job" else {"movie_id": "m", **FOLDERS}
    ours, theirs = {"Job": Job, "PipelineState": PipelineState}[model], getattr(old_models, model)
    consumed = list(value) if field == "jobs" and hasattr(value, "__next__") else value
    if consumed and isinstance(consumed, (list, tuple)) and all(one is BASE for one in consumed):
        consumed = type(consumed)({**one, "created_at": now, "updated_at": now} for one in consumed)
    try:
        expected = theirs(**{**given, field: consumed})
    except pydantic.ValidationError:
        with pytest.raises(ConfigurationError, match=f"{model}.{field}") as caught:
            ours(**{**given, field: consumed})
        assert isinstance(caught.value, ValueError)
        return
    made = ours(**{**given, field: consumed})
    assert made.model_dump() == expected.model_dump()
    assert type(getattr(made, field)) is type(getattr(expected, field))
    assert made.model_dump(mode="json") | {"created_at": 0, "updated_at": 0, "jobs": 0} == expected.model_dump(
        mode="json"
    ) | {"created_at": 0, "updated_at": 0, "jobs": 0}


@pytest.mark.parametrize(("model", "field"), [("Job", "id"), ("Job", "type"), ("PipelineState", "audio_dir")])
def test_a_field_that_is_missing_is_named(model: str, field: str) -> None:
    given = {"id": "a", "type": "image"} if model == "Job" else {"movie_id": "m", **FOLDERS}
    del given[field]
    with pytest.raises(ValueError, match=f"{model}.{field} is missing"):
        {"Job": Job, "PipelineState": PipelineState}[model](**given)


def test_defaults_are_those_of_before() -> None:
    made = Job(**BASE)
    assert made.model_dump(exclude={"created_at", "updated_at"}) == old_models.Job(**BASE).model_dump(
        exclude={"created_at", "updated_at"}
    )
    assert made.created_at.tzinfo is None
    assert Job(**BASE).metadata is not made.metadata


def test_an_unknown_field_is_ignored_with_one_warning_for_its_name(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "asyncjobs.compat"):
        for _ in range(2):
            made = Job(**BASE, colour="red")
        Job(**BASE, shade="dark")
    assert not hasattr(made, "colour")
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "Job has no field 'colour'",
        "Job has no field 'shade'",
    ]


def test_an_assignment_is_not_checked() -> None:
    made = Job(**BASE)
    made.status = "anything"
    assert made.status == "anything"


def test_a_model_is_validated_from_a_dict_and_itself() -> None:
    made = Job(**BASE, character_id="3")
    assert Job.model_validate(made) is made
    assert Job.model_validate(made.model_dump()) == made
    assert Job.model_validate(made.model_dump(mode="json")) == made
    with pytest.raises(ValueError, match="a Job"):
        Job.model_validate([1])


def test_a_copy_has_other_values_and_shares_the_rest() -> None:
    made = Job(**BASE, metadata={"a": [1]}, func=len)
    copied = made.model_copy(update={"status": JobStatus.FAILED})
    assert (copied.status, copied.func, made.status) == (JobStatus.FAILED, len, JobStatus.PENDING)
    assert copied.metadata is made.metadata
    assert made.model_copy(deep=True).metadata["a"] is not made.metadata["a"]


def test_a_dump_chooses_fields() -> None:
    made, theirs = Job(**BASE, error="no"), old_models.Job(**BASE, error="no")
    for options in ({"include": {"id", "error"}}, {"exclude": {"created_at", "updated_at"}}, {"exclude_none": True}):
        expected = theirs.model_dump(**options)
        ours = made.model_dump(**options)
        assert ours.keys() == expected.keys()
    assert made.model_dump_json().startswith('{"id":"a","type":"image","status":"pending","scene_id":null,')


def test_a_dump_for_json_has_what_json_has() -> None:
    metadata = {"pair": (1, {"when": datetime(2024, 1, 2)}), "one": {3}, "type": JobType.IMAGE, "path": Path("a/b")}
    made, theirs = (kind(**BASE, metadata=metadata) for kind in (Job, old_models.Job))
    assert made.model_dump(mode="json")["metadata"] == theirs.model_dump(mode="json")["metadata"]
    assert made.model_dump()["metadata"] == metadata


def test_what_runs_is_no_data() -> None:
    assert "func" not in Job(**BASE, func=len, args=(1,), depends_on=["b"]).model_dump()
    with pytest.raises(ValueError, match=r"Job.func"):
        Job(**BASE, func="len")
    with pytest.raises(ValueError, match=r"Job.depends_on"):
        Job(**BASE, depends_on="plot")


def test_models_are_equal_by_their_fields_and_have_no_hash() -> None:
    now = datetime(2024, 1, 1)
    one, other = (Job(**BASE, created_at=now, updated_at=now) for _ in range(2))
    assert one == other
    other.error = "no"
    assert one != other
    assert one != BASE
    with pytest.raises(TypeError):
        hash(one)
    assert repr(one).startswith("Job(id='a', type=<JobType.IMAGE: 'image'>, status=<JobStatus.PENDING: 'pending'>, ")


def test_members_of_enumerations_are_texts() -> None:
    assert [member.value for member in JobStatus] == ["pending", "in_progress", "completed", "failed", "skipped"]
    assert {member.name: member.value for member in JobType} == {
        "SCREENPLAY": "screenplay",
        "CHARACTER": "character",
        "CHARACTER_REF": "character_reference",
        "IMAGE": "image",
        "VIDEO": "video",
        "POST_PRODUCTION": "post_production",
    }
    assert JobStatus.PENDING == "pending"
    assert str(JobStatus.PENDING) == "JobStatus.PENDING"
