"""What changes something over HTTP: submit, cancel, retry, for one job or for many."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from asyncjobs import JobStatus
from asyncjobs.core.codec import adapted
from tests.runtime.factories import make
from tests.runtime.support import Held
from tests.web.bodies import add, echo, fail, named
from tests.web.sites import PARSERS, Site, problem, site
from tests.web.support import PATIENCE

pytestmark = pytest.mark.anyio


async def failed(here: Site, *ids: str, **options: Any) -> None:
    """Jobs that failed."""
    for job_id in ids:
        await here.jp.submit_job(fail, "no", job_id=job_id, max_retries=0, **options)
        await here.jp.wait_for_job(job_id, PATIENCE)


# -- submit


@pytest.mark.parametrize("http", PARSERS)
async def test_a_registered_function_is_submitted_and_its_job_found_at_its_location(http: str) -> None:
    async with site(add, http=http, submit=True) as here:
        answer = await here.post("/v1/jobs", {"function": named(add), "args": [1], "kwargs": {"b": 2}})
        assert answer.status_code == 202
        assert answer.headers["retry-after"] == "1"
        location = answer.headers["location"]
        assert location == f"/v1/jobs/{answer.json()['id']}" == answer.json()["links"]["self"]
        await here.jp.wait_for_job(answer.json()["id"], PATIENCE)
        assert (await here.get(f"{location}/result")).json()["result"] == 3


async def test_what_an_adapter_makes_of_a_factory_is_submitted_if_it_is_registered() -> None:
    async with site(adapted("demo", make), submit=True) as here:
        request = {"function": f"demo+{named(make)}", "kwargs": {"title": "noir", "inputs": {"mood": {"name": "grim"}}}}
        job_id = (await here.post("/v1/jobs", request)).json()["id"]
        await here.jp.wait_for_job(job_id, PATIENCE)
        result = (await here.get(f"/v1/jobs/{job_id}/result")).json()["result"]
        assert (result["title"], result["inputs"]) == ("noir", {"mood": {"name": "grim"}})
        body = problem(await here.post("/v1/jobs", {**request, "kwargs": {"titel": "noir"}}), 422, "submission")
        assert "make() has no parameter 'titel'" in body["detail"]
        problem(await here.post("/v1/jobs", {"function": named(make), "args": ["noir"]}), 422, "unknown-function")


async def test_nothing_is_submitted_unless_it_is_switched_on() -> None:
    async with site(add) as here:
        body = problem(await here.post("/v1/jobs", {"function": named(add), "args": [1]}), 403, "submit-disabled")
        assert "submit=True" in body["hint"]
        assert await here.jp.find_jobs() == []


async def test_only_registered_functions_are_submitted() -> None:
    async with site(add, submit=True) as here:
        body = problem(await here.post("/v1/jobs", {"function": named(add)[:-1]}), 422, "unknown-function")
        assert repr(named(add)) in body["hint"]
        for name in (named(echo), "os:system", "builtins:exec", "add", f"demo+{named(add)}", "demo+os:system"):
            problem(await here.post("/v1/jobs", {"function": name, "args": [1]}), 422, "unknown-function")
        assert await here.jp.find_jobs() == []


@pytest.mark.parametrize("name", ["__main__:render", "/home/me/shop.py:render", "__mp_main__:render"])
async def test_a_function_of_the_callers_script_is_refused_with_what_to_do(name: str) -> None:
    async with site(add, submit=True) as here:
        body = problem(await here.post("/v1/jobs", {"function": name}), 422, "unknown-function")
        assert "the caller's script" in body["detail"]
        for fix in ("put it into a module", "JobProcessor(functions=[…])", "--app", "--allow"):
            assert fix in body["hint"]


async def test_a_function_of_a_script_that_the_server_registered_by_its_module_is_named() -> None:
    async with site(add, submit=True) as here:
        body = problem(await here.post("/v1/jobs", {"function": "__main__:add"}), 422, "unknown-function")
        assert body["hint"] == f"did you mean {named(add)!r}?"


@pytest.mark.parametrize("name", ["add", "ad", "shop:add", "shop.models:add"])
async def test_a_function_without_its_module_or_with_another_is_named_with_its_own(name: str) -> None:
    async with site(add, submit=True) as here:
        body = problem(await here.post("/v1/jobs", {"function": name, "args": [1]}), 422, "unknown-function")
        assert body["hint"] == f"did you mean {named(add)!r}?"


@pytest.mark.parametrize("name", ["zoo", "shop:ad", ":", "add:", ""])
async def test_a_name_like_none_is_answered_with_what_registers_functions(name: str) -> None:
    async with site(add, submit=True) as here:
        answer = await here.post("/v1/jobs", {"function": name or "?", "args": [1]})
        assert "did you mean" not in problem(answer, 422, "unknown-function")["hint"]


async def test_a_function_that_this_process_only_ran_is_not_registered_by_that() -> None:
    async with site(add, submit=True) as here:
        await here.jp.submit_job(echo, 1)
        problem(await here.post("/v1/jobs", {"function": named(echo)}), 422, "unknown-function")


async def test_options_of_a_submission() -> None:
    async with site(add, submit=True, works=False) as here:
        asked: dict[str, Any] = {
            "function": named(add),
            "args": [1],
            "id": "it",
            "group": "g",
            "metadata": {"a": [1, None]},
            "queue": "slow",
            "priority": -5,
            "max_retries": 7,
            "timeout": 1.5,
            "run_at": "2040-01-02T03:04:05Z",
        }
        assert (await here.post("/v1/jobs", asked)).status_code == 202
        job = (await here.get("/v1/jobs/it")).json()
        same = {name: job[name] for name in asked if name in job and name != "function"}
        assert same == {name: value for name, value in asked.items() if name not in ("function", "args")}
        delayed = await here.post("/v1/jobs", {"function": named(add), "args": [1], "delay": 1000})
        assert delayed.json()["run_at"] is not None


async def test_a_handle_among_the_arguments_is_a_dependency_and_its_result() -> None:
    async with site(add, echo, submit=True) as here:
        first = await here.post("/v1/jobs", {"function": named(add), "args": [1, 2], "id": "a"})
        assert first.status_code == 202
        args = [{"pages": [{"$job": "a"}, 7], "odd": {"$job": "a", "more": 1}}]
        second = await here.post("/v1/jobs", {"function": named(echo), "args": args, "id": "b"})
        assert second.status_code == 202
        await here.jp.wait_for_job("b", PATIENCE)
        assert await here.jp.get_result("b") == {"pages": [3, 7], "odd": {"$job": "a", "more": 1}}
        assert (await here.get("/v1/jobs/b/arguments")).json()["args"] == args
        graph = (await here.get("/v1/jobs/b/graph")).json()
        assert [(edge["parent"], edge["child"]) for edge in graph["edges"]] == [("a", "b")]


async def test_a_dependency_that_is_not_there_refuses_the_submission() -> None:
    async with site(echo, submit=True) as here:
        for asked in ({"args": [{"$job": "none"}]}, {"depends_on": ["none"]}):
            problem(await here.post("/v1/jobs", {"function": named(echo)} | asked), 422, "unknown-dependency")
        assert await here.jp.find_jobs() == []


async def test_arguments_that_do_not_fit_are_refused() -> None:
    async with site(add, submit=True) as here:
        for asked, said in (({"kwargs": {"c": 1}}, "'c'"), ({"args": [1, 2, 3]}, "3 were given"), ({}, "'a'")):
            body = problem(await here.post("/v1/jobs", {"function": named(add)} | asked), 422, "submission")
            assert said in body["detail"]
            assert "add(a" in body["hint"]
        assert await here.jp.find_jobs() == []


@pytest.mark.parametrize("by", ["header", "id"])
async def test_the_same_submission_again_is_the_same_job(by: str) -> None:
    async with site(add, submit=True) as here:
        asked: dict[str, Any] = {"function": named(add), "args": [1, 2]} | ({"id": "once"} if by == "id" else {})
        headers = {"Idempotency-Key": "once"} if by == "header" else {}
        first = await here.post("/v1/jobs", asked, headers=headers)
        await here.jp.wait_for_job("once", PATIENCE)
        second = await here.post("/v1/jobs", asked, headers=headers)
        assert (first.status_code, second.status_code) == (202, 200)
        assert first.json()["id"] == second.json()["id"] == "once"
        assert second.headers["location"] == first.headers["location"]
        assert (await here.jp.get_job("once")).attempt == 1
        other = await here.post("/v1/jobs", asked | {"args": [1, 3]}, headers=headers)
        assert "once" in problem(other, 409, "job-conflict")["detail"]


async def test_twenty_at_once_with_one_key_are_one_job() -> None:
    async with site(add, submit=True) as here:
        ids: set[str] = set()

        async def submit() -> None:
            answer = await here.post(
                "/v1/jobs", {"function": named(add), "args": [1]}, headers={"Idempotency-Key": "k"}
            )
            assert answer.status_code in (200, 202), answer.text
            ids.add(answer.json()["id"])

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(submit)
        assert ids == {"k"}
        assert len(await here.jp.find_jobs()) == 1


async def test_a_key_and_another_id_contradict_each_other() -> None:
    async with site(add, submit=True) as here:
        asked = {"function": named(add), "args": [1], "id": "a"}
        answer = await here.post("/v1/jobs", asked, headers={"Idempotency-Key": "b"})
        assert problem(answer, 400, "invalid-request")["errors"][0]["pointer"] == "#/id"
        assert (await here.post("/v1/jobs", asked, headers={"Idempotency-Key": "a"})).status_code == 202


# -- cancel


async def test_cancelling_says_what_became_of_it() -> None:
    held = Held()
    async with site() as here:
        await here.jp.submit_job(held.body, job_id="running", local=True)
        await here.jp.submit_job(add, 1, job_id="waiting", depends_on="running")
        await held.started.wait()
        taken_out = await here.post("/v1/jobs/waiting/cancel")
        assert (taken_out.status_code, taken_out.json()["status"]) == (202, "cancelled")
        asked = await here.post("/v1/jobs/running/cancel", {})
        assert asked.status_code == 202
        assert asked.json()["status"] in ("in_progress", "cancelled")
        await here.jp.wait_for_job("running", PATIENCE)
        assert held.was_cancelled
        again = await here.post("/v1/jobs/running/cancel")
        assert (again.status_code, again.json()["status"]) == (200, "cancelled")
        await here.jp.submit_job(add, 1, job_id="over")
        await here.jp.wait_for_job("over", PATIENCE)
        problem(await here.post("/v1/jobs/over/cancel"), 409, "job-state")
        problem(await here.post("/v1/jobs/none/cancel"), 404, "job-not-found")


async def _parent() -> None:
    from asyncjobs import current_job

    await current_job().submit_job(echo, 1, delay=1000)


async def test_descendants_are_cancelled_when_asked_for() -> None:
    async with site() as here:
        await here.jp.submit_job(_parent, job_id="p")
        await here.jp.wait_for_job("p", PATIENCE)
        problem(await here.post("/v1/jobs/p/cancel", {"descendants": True}), 409, "job-state")
        assert await here.jp.get_status("p/1") is JobStatus.CANCELLED


# -- retry


async def test_retrying_is_for_what_failed_or_was_cancelled() -> None:
    async with site() as here:
        await failed(here, "it")
        answer = await here.post("/v1/jobs/it/retry")
        assert (answer.status_code, answer.json()) == (202, {"id": "it", "status": "pending"})
        await here.jp.wait_for_job("it", PATIENCE)
        await here.jp.submit_job(add, 1, job_id="over")
        await here.jp.wait_for_job("over", PATIENCE)
        problem(await here.post("/v1/jobs/over/retry"), 409, "job-state")
        problem(await here.post("/v1/jobs/none/retry"), 404, "job-not-found")


@pytest.mark.parametrize("action", ["cancel", "retry"])
async def test_an_action_can_be_for_one_state_of_the_job(action: str) -> None:
    async with site(works=False) as here:
        await here.jp.submit_job(add, 1, job_id="it", delay=1000)
        stale = (await here.get("/v1/jobs/it")).headers["etag"]
        await here.jp.cancel_job("it")
        if action == "cancel":
            await here.jp.retry_job("it")
        current = (await here.get("/v1/jobs/it")).headers["etag"]
        answer = await here.post(f"/v1/jobs/it/{action}", headers={"If-Match": stale})
        problem(answer, 412, "changed")
        assert (await here.get("/v1/jobs/it")).headers["etag"] == current
        answer = await here.post(f"/v1/jobs/it/{action}", headers={"If-Match": f'"v0", {current}'})
        assert answer.status_code == 202
        problem(await here.post(f"/v1/jobs/none/{action}", headers={"If-Match": "*"}), 404, "job-not-found")


@pytest.mark.parametrize(
    ("body", "fresh"), [(None, False), ({}, False), ({"fresh": False}, False), ({"fresh": True}, True)]
)
async def test_a_retry_resumes_unless_it_is_fresh(body: dict[str, bool] | None, fresh: bool) -> None:
    async with site(works=False) as here:
        await here.jp.submit_job(add, 1, job_id="it", delay=1000)
        await here.jp.cancel_job("it")
        assert (await here.post("/v1/jobs/it/retry", body)).status_code == 202
        events = (await here.jp.backend.read_events(job_id="it")).events
        assert events[-1].data.get("fresh", False) is fresh


async def test_what_a_retry_does_not_know_is_refused_and_nothing_is_retried() -> None:
    async with site(works=False) as here:
        await here.jp.submit_job(add, 1, job_id="it", delay=1000)
        await here.jp.cancel_job("it")
        for body in ({"frsh": True}, {"fresh": "yes"}, {"fresh": None}):
            answer = problem(await here.post("/v1/jobs/it/retry", body), 400, "invalid-request")
            assert next(iter(body)) in str(answer["errors"])
        assert await here.jp.get_status("it") is JobStatus.CANCELLED


async def test_many_are_retried_anew() -> None:
    async with site(works=False) as here:
        for i in range(3):
            await here.jp.submit_job(add, i, job_id=f"g{i}", group="g", delay=1000)
        await here.jp.cancel_jobs(group="g")
        answer = await here.post("/v1/jobs:retry", {"filter": {"group": "g"}, "fresh": True})
        assert answer.json()["matched"] == 3
        for i in range(3):
            assert (await here.jp.backend.read_events(job_id=f"g{i}")).events[-1].data["fresh"] is True
        problem(await here.post("/v1/jobs:cancel", {"filter": {"group": "g"}, "fresh": True}), 400, "invalid-request")


# -- many at once


async def test_bulk_cancel_takes_what_is_unfinished_of_the_filter() -> None:
    async with site(works=False) as here:
        for i in range(3):
            await here.jp.submit_job(add, i, job_id=f"g{i}", group="g")
        await here.jp.submit_job(add, 1, job_id="other")
        await here.jp.cancel_job("g0")
        answer = await here.post("/v1/jobs:cancel", {"filter": {"group": "g"}, "expect": 2})
        assert answer.status_code == 202
        assert answer.json() == {"matched": 2, "changed": {"g1": "cancelled", "g2": "cancelled"}}
        assert await here.jp.get_status("other") is JobStatus.PENDING
        by_ids = await here.post("/v1/jobs:cancel", {"filter": {"ids": ["other", "none", "g0"]}})
        assert by_ids.json() == {"matched": 1, "changed": {"other": "cancelled"}}


async def test_bulk_retry_takes_what_failed_or_was_cancelled() -> None:
    async with site() as here:
        await failed(here, "a", "b", group="g")
        await here.jp.submit_job(add, 1, job_id="c", group="g", delay=1000)
        await here.jp.cancel_job("c")
        await here.jp.submit_job(add, 1, job_id="d", group="g")
        await here.jp.wait_for_job("d", PATIENCE)
        answer = await here.post("/v1/jobs:retry", {"filter": {"group": "g", "status": ["failed"]}})
        assert answer.json() == {"matched": 2, "changed": {"a": "pending", "b": "pending"}}
        await here.jp.drain(timeout=PATIENCE)
        answer = await here.post("/v1/jobs:retry", {"filter": {"function": named(add)}})
        assert answer.json() == {"matched": 1, "changed": {"c": "pending"}}


@pytest.mark.parametrize("action", ["cancel", "retry"])
async def test_another_number_than_expected_changes_nothing(action: str) -> None:
    async with site(works=False) as here:
        await here.jp.submit_job(add, 1, job_id="it", group="g")
        if action == "retry":
            await here.jp.cancel_job("it")
        before = await here.jp.get_job("it")
        answer = await here.post(f"/v1/jobs:{action}", {"filter": {"group": "g"}, "expect": 2})
        assert "1 job matches, not " in problem(answer, 409, "count-differs")["detail"]
        assert await here.jp.get_job("it") == before


@pytest.mark.parametrize("action", ["cancel", "retry"])
@pytest.mark.parametrize(
    ("asked", "matched"),
    [({"ids": []}, 0), ({"status": []}, 0), ({"status": ["completed"]}, 0), ({"group": "none"}, 0)],
)
async def test_a_filter_that_matches_nothing_changes_nothing(action: str, asked: Any, matched: int) -> None:
    async with site(works=False) as here:
        await here.jp.submit_job(add, 1, job_id="a")
        await here.jp.submit_job(add, 1, job_id="b")
        await here.jp.cancel_job("b")
        answer = await here.post(f"/v1/jobs:{action}", {"filter": asked})
        assert answer.json() == {"matched": matched, "changed": {}}


@pytest.mark.parametrize("action", ["cancel", "retry"])
@pytest.mark.parametrize("asked", [{}, {"filter": {}}, {"filter": None}, {"filter": {"grup": "g"}}, [], None])
async def test_a_filter_must_say_something(action: str, asked: Any) -> None:
    async with site(works=False) as here:
        await here.jp.submit_job(add, 1, job_id="a")
        answer = await here.http.request(
            "POST",
            f"/v1/jobs:{action}",
            headers={"X-Asyncjobs": "1", "Content-Type": "application/json"},
            json=asked,
        )
        problem(answer, 400, "invalid-request")
        assert await here.jp.get_status("a") is JobStatus.PENDING


async def test_more_jobs_than_a_page() -> None:
    async with site(works=False) as here:
        await here.jp.map_jobs(add, range(1203), group="g")
        answer = await here.post("/v1/jobs:cancel", {"filter": {"group": "g"}, "expect": 1203})
        assert answer.json()["matched"] == len(answer.json()["changed"]) == 1203
        again = await here.post("/v1/jobs:retry", {"filter": {"group": "g"}, "expect": 1203})
        assert len(again.json()["changed"]) == 1203
