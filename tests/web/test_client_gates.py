"""JobsClient: gates of a served processor are asked, found, answered and rejected as if they were here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import anyio
import httpx
import pydantic
import pytest
from msgspec.structs import replace

from asyncjobs import (
    AnswerTimeoutError,
    ConfigurationError,
    ConversionError,
    JobConflictError,
    JobNotFoundError,
    JobProcessorError,
    JobQuery,
    JobSkippedError,
    JobStateError,
    JobStatus,
    NotSerializableError,
    RejectedError,
    current_job,
    job,
)
from asyncjobs.client import JobsClient
from asyncjobs.models import WaitsFor
from asyncjobs.web import Principal
from tests.web.bodies import add, named
from tests.web.client_support import Losing, remote
from tests.web.sites import Site
from tests.web.support import PATIENCE, TOKEN

pytestmark = pytest.mark.anyio

OTHER = "another-token-of-the-tests"
TOKENS = {TOKEN: Principal("ana"), OTHER: Principal("ben")}


@dataclass
class Review:
    verdict: Literal["good", "bad"]
    pages: list[int]


class Choice(pydantic.BaseModel):
    name: str
    weight: float = 1.0


@job
async def asks() -> str:
    return await current_job().ask("Which style?", key="style", choices=["noir", "manga"], timeout=600, park=True)


# -- submitting


async def test_a_gate_holds_its_dependents_until_it_is_answered() -> None:
    async with remote(add) as (_, client):
        gate = await client.submit_gate("Add them?", timeout=timedelta(hours=1), group="g", metadata={"page": 1})
        after = await client.submit_job(named(add), 1, 2, depends_on=gate)
        shown = await client.get_job(gate)
        assert (shown.func, shown.group, shown.metadata, shown.waits_for) == ("gate", "g", {"page": 1}, WaitsFor.ANSWER)
        assert await gate.answer() is JobStatus.COMPLETED
        with anyio.fail_after(PATIENCE):
            assert (await gate, await after) == (True, 3)


async def test_what_a_gate_asks_is_read_back_as_in_process() -> None:
    async with remote(works=False) as (here, client):
        asked: list[dict[str, Any]] = [
            {"choices": ["yes", "no"], "reject_on": ["no"], "timeout": 60, "default": "yes"},
            {"answer_type": Review, "timeout": 60, "default": Review("bad", [])},
            {"answer_type": bool},
            {},
        ]
        for number, options in enumerate(asked):
            await client.submit_gate("Print it?", job_id=f"remote{number}", **options)
            await here.jp.submit_gate("Print it?", job_id=f"local{number}", **options)
            ours, theirs = await client.get_job(f"local{number}"), await client.get_job(f"remote{number}")
            assert ours.gate is not None
            assert theirs.gate is not None
            assert theirs.gate.opened_at is not None
            moments = {"opened_at": None, "deadline": None}
            assert replace(theirs.gate, **moments) == replace(ours.gate, **moments)
            assert (await here.jp.get_job(f"remote{number}")).gate == theirs.gate


async def test_the_handle_of_a_typed_gate_returns_the_type_and_takes_it() -> None:
    async with remote(works=False) as (_, client):
        review = await client.submit_gate("How is it?", answer_type=Review)
        assert await review.answer(Review("good", [1, 2])) == "completed"
        assert await review == Review("good", [1, 2])
        assert await client.get_result(review) == {"verdict": "good", "pages": [1, 2]}
        choice = await client.submit_gate("Which?", answer_type=Choice)
        assert await choice.answer(Choice(name="a")) == "completed"
        assert await choice == Choice(name="a", weight=1.0)


async def test_a_stored_answer_that_does_not_fit_the_type_any_more_is_named() -> None:
    async with remote(works=False) as (here, client):
        await here.jp.submit_gate("Which?", answer_type=dict, job_id="gate")
        await here.jp.answer_job("gate", {"secret": 1})
        handle = await client.submit_gate("Which?", answer_type=dict, job_id="gate")
        assert await handle == {"secret": "•••"}  # hidden by the server, and still a dict
        await here.jp.submit_gate("Many?", answer_type=dict[str, int], job_id="typed")
        handle = await client.submit_gate("Many?", answer_type=dict[str, int], job_id="typed")
        await handle.answer({"secret": 1})
        with pytest.raises(ConversionError):
            await handle


async def test_the_default_is_the_answer_of_the_deadline_none_too() -> None:
    async with remote() as (_, client):
        none = await client.submit_gate("Which?", answer_type=int | None, timeout=0.01, default=None)
        late = await client.submit_gate("Which?", choices=["a"], timeout=0.01)
        with anyio.fail_after(PATIENCE):
            assert await none is None
            with pytest.raises(AnswerTimeoutError, match="nobody answered") as caught:
                await late
        assert (caught.value.job_id, caught.value.attempt) == (late, 0)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"queue": "q"}, "queue"),
        ({"max_retries": 1}, "max_retries"),
        ({"choises": ["a"]}, "choises"),
        ({"if_exists": "return"}, "if_exists"),
        ({"choices": []}, "choices"),
        ({"choices": ["a", 1]}, "choices[1]"),
        ({"choices": ["a"], "answer_type": str}, "choices"),
        ({"reject_on": ["no"]}, "reject_on"),
        ({"answer_type": datetime}, "answer_type"),
        ({"answer_type": int, "timeout": 1, "default": "one"}, "default"),
        ({"default": True}, "default"),
        ({"timeout": "soon"}, "timeout"),
        ({"timeout": -1}, "timeout"),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_an_option_that_cannot_work_is_refused_by_name(options: dict[str, Any], field: str) -> None:
    async with remote(works=False) as (_, client):
        with pytest.raises(ConfigurationError) as caught:
            await client.submit_gate("Print it?", **options)
        assert caught.value.field == field
        assert await client.find_jobs() == []


async def test_the_same_gate_again_is_that_gate_and_another_question_a_conflict() -> None:
    async with remote(works=False) as (_, client):
        for _ in range(2):
            assert await client.submit_gate("Print it?", job_id="print/it") == "print/it"
        with pytest.raises(JobConflictError):
            await client.submit_gate("Burn it?", job_id="print/it")
        assert len(await client.find_jobs()) == 1


async def test_where_submitting_is_disabled_gates_are_refused_too() -> None:
    async with remote(submit=False, works=False) as (_, client):
        with pytest.raises(JobProcessorError, match="disabled") as caught:
            await client.submit_gate("Print it?")
        assert caught.value.code == "submit-disabled"


# -- answering


async def test_a_lost_response_is_repeated_without_asking_or_answering_twice() -> None:
    async with remote(works=False) as (here, _):
        transport = Losing(lost=100)
        async with httpx.AsyncClient(transport=transport) as http:
            async with JobsClient(here.url, http_client=http, tries=2) as client:
                for lost in (1, 1, 1):
                    transport.lost, transport.sent = lost, 0
                    gate = await client.submit_gate("Print it?", job_id="gate")
                    transport.sent = 0
                    assert await gate.answer() == "completed"
                    transport.sent = 0
                    refused = await client.submit_gate("Publish it?", job_id="other")
                    transport.sent = 0
                    assert await refused.reject("no") == "failed"
        assert len(await here.jp.find_jobs()) == 2


async def test_a_later_answer_is_refused_with_who_answered_when() -> None:
    async with remote(works=False, auth=TOKENS) as (here, _):
        gate = await here.jp.submit_gate("Which?", choices=["a", "b"], job_id="gate")
        async with JobsClient(here.url, TOKEN) as ana, JobsClient(here.url, OTHER) as ben:
            assert await ana.answer_job(gate, "a") == "completed"
            assert await ana.handle("gate").answer("a") == "completed"
            answered_at = (await here.jp.get_job(gate)).gate.answered_at
            for late in (ben.answer_job(gate, "a"), ana.answer_job(gate, "b"), ben.handle("gate").reject("no")):
                with pytest.raises(JobStateError, match="it was answered by 'ana'") as caught:
                    await late
                assert (caught.value.answered_by, caught.value.answered_at) == ("ana", answered_at)


async def test_a_rejection_is_raised_with_reason_and_giver() -> None:
    async with remote(add, works=False, auth=TOKENS) as (here, _):
        gate = await here.jp.submit_gate("Print it?", job_id="gate")
        await here.jp.submit_job(add, 1, 2, job_id="after", depends_on=gate)
        async with JobsClient(here.url, OTHER) as ben:
            assert await ben.reject_job("gate", "page 3 is empty") == "failed"
            for wait in (ben.get_result("gate"), ben.handle("gate").result()):
                with pytest.raises(RejectedError, match="page 3 is empty") as caught:
                    await wait
                assert (caught.value.job_id, caught.value.by, caught.value.reason) == ("gate", "ben", "page 3 is empty")
            with pytest.raises(JobSkippedError):
                await ben.get_result("after")
            assert await ben.retry_job("gate") == "pending"
            assert await ben.answer_job("gate") == "completed"


async def test_a_value_that_does_not_fit_is_refused_with_its_path() -> None:
    async with remote(works=False) as (here, client):
        await here.jp.submit_gate("How is it?", answer_type=Review, job_id="gate")
        for options in ({}, {"answer_type": Review}):  # by the server, and by the client
            with pytest.raises(ConfigurationError) as caught:
                await client.answer_job("gate", {"verdict": "good", "pages": [1, "two"]}, **options)
            assert caught.value.field == "value.pages[1]"
        for value in (float("nan"), {1, 2}, datetime.now()):
            with pytest.raises(NotSerializableError):
                await client.answer_job("gate", value)
        assert (await client.get_job("gate")).waits_for is WaitsFor.ANSWER


async def test_what_cannot_be_answered_is_refused_as_in_process() -> None:
    async with remote(add, works=False) as (here, client):
        parent = await here.jp.submit_job(add, 1, 2, job_id="job")
        await here.jp.submit_gate("Later?", depends_on=parent, job_id="early")
        for end in (client.answer_job("nobody"), client.reject_job("nobody", "no")):
            with pytest.raises(JobNotFoundError):
                await end
        for end in (client.answer_job("job"), client.reject_job("job", "no")):
            with pytest.raises(JobStateError, match="it is not a gate") as caught:
                await end
            assert caught.value.answered_at is None
        for end in (client.answer_job("early"), client.reject_job("early", "no")):
            with pytest.raises(JobStateError, match="not open yet"):
                await end
        for reason in ("", "x" * 2001, 7):
            with pytest.raises(ConfigurationError, match="reason"):
                await client.reject_job("early", reason)


async def test_by_is_the_servers_to_say() -> None:
    async with remote(works=False) as (here, client):
        gate = await here.jp.submit_gate("Print it?", job_id="gate")
        for end in (client.answer_job(gate, True, "eve"), client.reject_job(gate, "no", by="eve")):
            with pytest.raises(ConfigurationError, match="the client's token") as caught:
                await end
            assert caught.value.field == "by"


# -- seen


async def test_what_waits_for_an_answer_is_found_and_cancelled() -> None:
    async with remote(asks) as (here, client):
        await parked(here)
        await client.submit_gate("Print it?", job_id="gate", group="books")
        waiting = JobQuery(waits_for="answer", limit=1)
        found = {job.id: job async for job in client.iter_jobs(waiting)}
        assert found.keys() == {"book", "book/style", "gate"}
        assert (found["book"].parked, found["book"].gate) == ("book/style", None)
        asked = found["book/style"].gate
        assert asked is not None
        assert (asked.asked_by, asked.choices, asked.reject_on) == ("book", ("noir", "manga"), ())
        assert found == {job.id: job async for job in here.jp.iter_jobs(waiting)}
        await client.submit_gate("Of page 3?", job_id="third", metadata={"page": 3})
        for query in (JobQuery(waits_for="answer", metadata={"page": 3}), JobQuery(metadata={"page": 3})):
            assert await client.find_jobs(query) == await here.jp.find_jobs(query) == [await client.get_job("third")]
        with pytest.raises(ConfigurationError, match="metadata"):
            await client.find_jobs(JobQuery(metadata={"page": object()}))
        assert await client.cancel_job("third") == "cancelled"
        changed = await client.cancel_jobs(JobQuery(waits_for="answer", group="books"))
        assert changed.changed == {"gate": JobStatus.CANCELLED}
        assert await client.answer_job("book/style", "noir") == "completed"
        with anyio.fail_after(PATIENCE):
            assert await client.handle("book") == "noir"


async def parked(here: Site) -> None:
    """The job "book" is parked on its question."""
    await here.jp.submit_job(asks, job_id="book")
    with anyio.fail_after(PATIENCE):
        async for event in here.jp.stream_job("book"):
            if event.type == "released":
                return


async def test_the_stream_of_the_asking_job_alone_has_the_question_and_its_end() -> None:
    async with remote(asks) as (_, client):
        seen: list[str] = []
        with anyio.fail_after(PATIENCE):
            asking = await client.submit_job(named(asks), job_id="book")
            async for event in asking.events():
                seen.append(event.type)
                if event.type == "asked":
                    assert (event.data["gate"], event.data["choices"]) == ("book/style", ["noir", "manga"])
                    await client.answer_job(event.data["gate"], "noir")
                if event.type == "answered":
                    assert (event.data["gate"], event.data["by"]) == ("book/style", "local")
        assert seen.index("asked") < seen.index("answered") < seen.index("completed")
