"""Values over HTTP: a browser gets JSON in which nothing is missing, ``JobsClient`` the value itself."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import httpx
import pytest

from asyncjobs import BackendError, JobEvent, NotSerializableError
from asyncjobs.client import JobsClient
from asyncjobs.core.codec import encode_value
from asyncjobs.runtime.events.frames import Frames
from asyncjobs.runtime.events.reader import EventBatch, EventFilter
from tests.web.bodies import echo
from tests.web.sites import site

pytestmark = pytest.mark.anyio

HUGE = 10**5000
VALUES: list[Any] = [
    None, True, 0, "", [], {},
    HUGE, -HUGE, 2**64, -(2**70), [HUGE, {"n": HUGE}],
    {1: "number", "1": "text"}, {"1": "text", 1: "number", None: "none", "None": "text"},
    {"deep": [{1: 2, "1": {2: 3, "2": 4}}]},
    (1, (2,)), {1, 2}, frozenset({"a"}), {(1, 2): "pair"},
    Decimal("1.50"), UUID(int=7), datetime(2026, 3, 1, 12, tzinfo=UTC), date(2026, 3, 1), timedelta(days=1),
    b"\xff\x00", bytearray(b"x"), PurePosixPath("a/b"), 1 + 2j, range(1, 9, 2), float("inf"), 1e300,
    {"$job": "is only a name here"}, {"result": 1, "id": 2, "status": "x"}, "0x10",
]  # fmt: skip


@dataclass
class Page:
    number: int
    notes: dict[Any, Any]


async def give(index: int) -> Any:
    return VALUES[index]


async def page() -> Page:
    return Page(HUGE, {1: "number", "1": "text"})


async def secret() -> Any:
    return {"password": "hunter2", "pair": (1, 2), 1: "number", "1": "text"}


async def test_the_client_gives_back_what_a_handle_gives() -> None:
    async with site(give) as here, JobsClient(here.url) as client:
        for index, value in enumerate(VALUES):
            job = await here.jp.submit_job(give, index)
            own, theirs = await job, await client.handle(job)
            assert theirs == own == value
            assert type(theirs) is type(own)
            if isinstance(value, dict):
                assert list(map(repr, theirs)) == list(map(repr, value))  # keys, their types, and their order


async def test_a_record_is_a_plain_dict_for_a_client_without_its_class() -> None:
    async with site(page) as here, JobsClient(here.url) as client:
        job = await here.jp.submit_job(page)
        assert await job == Page(HUGE, {1: "number", "1": "text"})
        assert await client.get_result(job) == {"number": HUGE, "notes": {1: "number", "1": "text"}}


async def test_as_json_nothing_is_missing() -> None:
    async with site(give) as here:
        for index, value in enumerate(VALUES):
            job = await here.jp.submit_job(give, index)
            await job
            answer = await here.get(f"/v1/jobs/{job}/result")
            assert answer.status_code == 200
            shown = json.loads(answer.content, object_pairs_hook=distinct)["result"]
            if isinstance(value, dict):
                assert len(shown) == len(value)
        job = await here.jp.submit_job(give, VALUES.index({1: "number", "1": "text"}))
        await job
        assert (await here.get(f"/v1/jobs/{job}/result")).json()["result"] == {"int 1": "number", "1": "text"}
        job = await here.jp.submit_job(give, VALUES.index(HUGE))
        await job
        assert int((await here.get(f"/v1/jobs/{job}/result")).json()["result"], 0) == HUGE


def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs), pairs
    return dict(pairs)


async def test_arguments_are_shown_likewise() -> None:
    async with site(echo) as here:
        job = await here.jp.submit_job(echo, HUGE, pages={1: "number", "1": "text"}, delay=3600)
        shown = (await here.get(f"/v1/jobs/{job}/arguments")).json()
        assert int(shown["args"][0], 0) == HUGE
        assert shown["kwargs"] == {"pages": {"int 1": "number", "1": "text"}}


@pytest.mark.parametrize("form", ["named", "lines"])
def test_events_are_streamed_likewise(form: Any) -> None:
    data = {"n": HUGE, "pages": {1: "number", "1": "text"}, "pair": (1, {2: 3}), "of": {"deep": [{None: 1, "None": 2}]}}
    event = JobEvent("7", "job", 1, "output", datetime(2026, 3, 1, tzinfo=UTC), 1, data=data)
    frame = b"".join(Frames().encode(EventBatch([event], "7"), EventFilter(), form)).decode()
    line = next(line for line in frame.splitlines() if "{" in line).removeprefix("data: ")
    shown = json.loads(line, object_pairs_hook=distinct)["data"]
    assert int(shown.pop("n"), 0) == HUGE
    assert shown == {
        "pages": {"int 1": "number", "1": "text"},
        "pair": [1, {"2": 3}],
        "of": {"deep": [{"NoneType None": 1, "None": 2}]},
    }


async def test_what_is_hidden_is_hidden_from_the_client_as_well() -> None:
    async with site(secret) as here, JobsClient(here.url) as client:
        job = await here.jp.submit_job(secret)
        await job
        seen = await client.get_result(job)
        assert seen == {"password": "•••", "pair": [1, 2], "int 1": "number", "1": "text"}
        raw = await here.get(f"/v1/jobs/{job}/result", headers={"Accept": "application/msgpack"})
        assert raw.headers["content-type"] == "application/json"
        assert b"hunter2" not in raw.content


async def test_redact_of_the_program_sees_json_as_before() -> None:
    seen: list[Any] = []

    def redact(what: str, value: Any) -> Any:
        if what == "result":
            seen.append(value)
        return value

    async with site(give, redact=redact) as here, JobsClient(here.url) as client:
        job = await here.jp.submit_job(give, VALUES.index((1, (2,))))
        await job
        assert await client.get_result(job) == (1, (2,))
        assert seen == [[1, [2]]]


async def test_values_as_they_are_stored_are_for_those_who_ask_for_them() -> None:
    async with site(give) as here:
        job = await here.jp.submit_job(give, VALUES.index((1, (2,))))
        await job
        for accept in ("*/*", "application/*", "application/json", ""):
            answer = await here.get(f"/v1/jobs/{job}/result", headers={"Accept": accept})
            assert answer.headers["content-type"] == "application/json"
        answer = await here.get(f"/v1/jobs/{job}/result", headers={"Accept": "application/msgpack;q=1, */*"})
        assert answer.headers["content-type"] == "application/msgpack"
        assert answer.content == encode_value((1, (2,)))


async def test_a_value_that_is_damaged_on_the_way_is_an_error_of_the_tree() -> None:
    def damaged(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": "application/msgpack"}, content=b"\xc1")

    http = httpx.AsyncClient(transport=httpx.MockTransport(damaged))
    async with http, JobsClient("http://localhost", http_client=http) as client:
        with pytest.raises(BackendError, match="cannot be decoded"):
            await client.get_result("job")


async def test_a_server_that_knows_only_json_is_understood() -> None:
    def old(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"id": "job", "status": "completed", "result": {"1": [1, 2]}})

    http = httpx.AsyncClient(transport=httpx.MockTransport(old))
    async with http, JobsClient("http://localhost", http_client=http) as client:
        assert await client.get_result("job") == {"1": [1, 2]}


async def test_a_number_that_json_readers_do_not_take_is_refused_before_it_is_sent() -> None:
    async with site(echo, submit=True) as here, JobsClient(here.url) as client:
        for args in ((HUGE,), ([HUGE],), ({"n": -HUGE},)):
            with pytest.raises(NotSerializableError, match=r"\$\.args\[0\].*digits"):
                await client.submit_job("tests.web.bodies:echo", *args)
        job = await client.submit_job("tests.web.bodies:echo", 10**4000)
        assert await job == 10**4000


@pytest.mark.parametrize("name", [".", ".."])
async def test_links_to_names_that_urls_resolve_away_lead_to_them(name: str) -> None:
    """Ids and groups of stores that took such names."""
    async with site(echo) as here:
        await (await here.jp.submit_job(echo, 1, group=name))
        [group] = (await here.get("/v1/groups")).json()["items"]
        shown = await here.get(group["links"]["self"])
        assert (shown.json()["group"], shown.json()["links"]["self"]) == (name, group["links"]["self"])
        assert len((await here.get(group["links"]["graph"])).json()["nodes"]) == 1
