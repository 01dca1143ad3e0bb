"""A handle among the arguments is the job's result, or it is refused with its path; never silently a text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from msgspec import Struct

from asyncjobs import JobProcessor, JobRequest, NotSerializableError, SubmissionError, SyncJobs
from asyncjobs.client.submission import submission
from asyncjobs.models import Handle
from tests.runtime.support import add, collect, echo, fail

pytestmark = pytest.mark.anyio


@dataclass
class Page:
    plot: Any


class Panel(Struct):
    plot: Any


class Pair(NamedTuple):
    left: Any
    right: Any


def pair(a: Any, b: Any = None) -> Any:
    return [a, b]


REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "dataclass": (lambda handle: Page(handle), "$.args[0].plot"),
    "struct": (lambda handle: [Panel([handle])], "$.args[0][0].plot[0]"),
    "set": (lambda handle: {handle}, "$.args[0]{item}"),
    "frozenset": (lambda handle: [frozenset({handle})], "$.args[0][0]{item}"),
    "key": (lambda handle: {handle: 1}, "$.args[0]{key}"),
    "deep": (lambda handle: {"a": [Page({"b": handle})]}, "$.args[0].a[0].plot.b"),
}


@pytest.mark.parametrize("where", REFUSED)
async def test_in_records_sets_and_keys_a_handle_is_refused_with_its_path(jp: JobProcessor, where: str) -> None:
    make, path = REFUSED[where]
    plot = await jp.submit_job(echo, "plot")
    for handle in (plot, jp.optional(plot)):
        with pytest.raises(NotSerializableError, match="a job handle in") as caught:
            await jp.submit_job(echo, make(handle))
        assert caught.value.where == path
    assert len(await jp.find_jobs()) == 1


async def test_everywhere_else_it_is_the_result(jp: JobProcessor) -> None:
    plot = await jp.submit_job(echo, "plot")
    job = await jp.submit_job(collect, plot, [plot], (1, {"a": plot}), Pair(plot, 2), named=plot)
    assert await job == [["plot", ["plot"], (1, {"a": "plot"}), ("plot", 2)], {"named": "plot"}]


# -- optional


async def test_an_optional_argument_is_the_result_or_none(jp: JobProcessor) -> None:
    good = await jp.submit_job(echo, "plot")
    bad = await jp.submit_job(fail, max_retries=0)
    job = await jp.submit_job(
        collect, jp.optional(good), [jp.optional(bad)], {"a": jp.optional(good)}, late=jp.optional(bad)
    )
    assert await job == [["plot", [None], {"a": "plot"}], {"late": None}]


async def test_what_is_needed_in_one_place_is_needed(jp: JobProcessor) -> None:
    bad = await jp.submit_job(fail, max_retries=0)
    for args in ((jp.optional(bad), bad), (bad, jp.optional(bad)), ([jp.optional(bad)], {"a": [bad]})):
        job = await jp.submit_job(collect, *args)
        assert (await jp.wait_for_job(job)).status == "skipped"
    needed = await jp.submit_job(collect, jp.optional(bad), depends_on=bad)
    assert (await jp.wait_for_job(needed)).status == "skipped"
    assert await (await jp.submit_job(collect, bad, depends_on=jp.optional(bad))) == [[None], {}]


async def test_an_optional_argument_of_a_batch_may_come_later(jp: JobProcessor) -> None:
    _, job = await jp.submit_jobs(
        [
            JobRequest(func=fail, job_id="late", max_retries=0),
            JobRequest(func=pair, args=(jp.optional("late"),), kwargs={"b": 2}),
        ]
    )
    assert await job == [None, 2]


async def test_an_optional_dependency_is_an_id_and_says_what_it_is(jp: JobProcessor) -> None:
    optional = jp.optional(await jp.submit_job(add, 1, 2, job_id="a"))
    assert (optional, optional.job_id, repr(optional)) == ("a", "a", "optional('a')")
    assert (await jp.get_job(optional)).id == "a"


# -- SyncJobs


def test_sync_jobs_inject_wherever_their_twins_do(tmp_path: Path) -> None:
    with SyncJobs(str(tmp_path / "jobs.db")) as jobs:
        first = jobs.submit_job(echo, "plot")
        bad = jobs.submit_job(fail, max_retries=0)
        [second, third] = jobs.submit_jobs(
            [
                JobRequest(func=pair, args=(first, 1)),
                JobRequest(func=pair, args=([first],), kwargs={"b": {"c": (first,)}}),
            ]
        )
        assert second.result(20) == ["plot", 1]
        assert third.result(20) == [["plot"], {"c": ("plot",)}]
        mapped = jobs.map_jobs(pair, [first, 2], b=first)
        assert [handle.result(20) for handle in mapped] == [["plot", "plot"], [2, "plot"]]
        assert jobs.submit_job(pair, Pair(first, 3)).result(20) == [("plot", 3), None]
        assert jobs.submit_job(pair, jobs.optional(bad), jobs.optional(first)).result(20) == [None, "plot"]
        for make, path in REFUSED.values():
            with pytest.raises(NotSerializableError) as caught:
                jobs.submit_job(echo, make(first))
            assert caught.value.where == path


# -- the client


@pytest.mark.parametrize("where", REFUSED)
def test_the_client_refuses_where_a_handle_would_become_a_text(where: str) -> None:
    make, path = REFUSED[where]
    with pytest.raises(NotSerializableError, match="handle") as caught:
        submission("f", (make(Handle("id")),), {}, {})
    assert caught.value.where == path


def test_the_client_sends_handles_of_any_kind_as_references() -> None:
    sent = submission("f", ([Handle("id")],), {"depends_on": [Handle("other")]}, {"a": Handle("b")})
    assert (sent["args"], sent["kwargs"]) == ([[{"$job": "id"}]], {"a": {"$job": "b"}})


# -- batches


async def test_a_batch_takes_jobs_only_inside_its_block(jp: JobProcessor) -> None:
    with pytest.raises(SubmissionError, match=r"async with jp\.batch\(\)"):
        jp.batch().submit_job(echo, 1)
    async with jp.batch() as batch:
        inside = batch.submit_job(echo, 1)
    with pytest.raises(SubmissionError, match="not open"):
        batch.submit_job(echo, 2)
    assert await inside == 1
    assert len(await jp.find_jobs()) == 1
