"""Gates over HTTP: who may answer, what fits, who was first, and what callers see of a question."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, Literal

import anyio
import pytest

from asyncjobs import JobProcessor, JobQuery, MemoryBackend, MemoryConfig, RejectedError, current_job, job
from asyncjobs.models import Job
from asyncjobs.runtime import json_schemas
from asyncjobs.web import READER, Principal
from asyncjobs.web.json_models import as_json, from_json
from tests.web.bodies import add, named
from tests.web.sites import Site, problem, site
from tests.web.support import ACT, PATIENCE, TOKEN

pytestmark = pytest.mark.anyio

ANSWERER = "a-token-that-answers-0123"
READS = "a-token-that-reads-01234"
ACTS = "a-token-that-acts-012345"
TOKENS = {
    TOKEN: Principal("ana"),
    ANSWERER: Principal("ben", frozenset({"read", "answer"})),
    READS: Principal("cem", READER),
    ACTS: Principal("dora", frozenset({"act"})),
}


@dataclass
class Review:
    verdict: Literal["good", "bad"]
    pages: list[int]


def bearer(token: str) -> dict[str, Any]:
    return {"headers": {"Authorization": f"Bearer {token}"}}


async def view(here: Site, job_id: str, **options: Any) -> dict[str, Any]:
    answer = await here.get(f"/v1/jobs/{job_id}", **options)
    assert answer.status_code == 200, answer.text
    return answer.json()


# -- answering


async def test_an_empty_body_approves_and_the_dependents_go_on() -> None:
    async with site(add) as here:
        gate = await here.jp.submit_gate("Add them?", job_id="gate")
        after = await here.jp.submit_job(add, 1, 2, depends_on=gate)
        answer = await here.post("/v1/jobs/gate/answer")
        assert (answer.status_code, answer.json()) == (200, {"id": "gate", "status": "completed"})
        with anyio.fail_after(PATIENCE):
            assert await after == 3
        shown = await view(here, "gate")
        assert (shown["function"], shown["attempt"], shown["started_at"]) == ("gate", 0, None)
        assert shown["gate"]["answered_by"] == "local"
        assert shown["gate"]["answered_at"]
        assert (await here.get("/v1/jobs/gate/result")).json()["result"] is True


@pytest.mark.parametrize("given", [True, None, 1.5, "text", [1], {"a": None}], ids=repr)
async def test_a_value_arrives_as_it_is_null_too(given: Any) -> None:
    async with site(works=False) as here:
        await here.jp.submit_gate("What?", answer_type=Any, job_id="gate")
        assert (await here.post("/v1/jobs/gate/answer", {"value": given})).status_code == 200
        assert await here.jp.get_result("gate") == given
        assert (await here.get("/v1/jobs/gate/result")).json()["result"] == given


@pytest.mark.parametrize("body", [None, {}], ids=["empty", "without value"])
@pytest.mark.parametrize("asked", [{"choices": ["a", "b"]}, {"answer_type": bool}], ids=["choices", "bool"])
async def test_a_value_that_is_left_out_approves_nothing_but_an_approval(body: Any, asked: dict[str, Any]) -> None:
    async with site(works=False) as here:
        await here.jp.submit_gate("Which?", job_id="gate", **asked)
        refused = problem(await here.post("/v1/jobs/gate/answer", body), 422, "configuration")
        assert refused["errors"][0]["pointer"] == "#/value"
        assert (await view(here, "gate"))["status"] == "pending"


async def test_a_choice_that_rejects_fails_the_gate() -> None:
    async with site(add) as here:
        gate = await here.jp.submit_gate("Now?", choices=["yes", "no"], reject_on=["no"], job_id="gate")
        after = await here.jp.submit_job(add, 1, 2, depends_on=gate)
        answer = await here.post("/v1/jobs/gate/answer", {"value": "no"})
        assert answer.json() == {"id": "gate", "status": "failed"}
        assert (await here.jp.get_job(after)).because == "gate"


async def test_a_rejection_names_reason_and_giver_and_says_how_to_open_it_again() -> None:
    async with site(auth=TOKENS, works=False) as here:
        gate = await here.jp.submit_gate("Print it?", job_id="gate")
        answer = await here.post("/v1/jobs/gate/reject", {"reason": "page 3 is empty"}, **bearer(ANSWERER))
        assert (answer.status_code, answer.json()["status"]) == (200, "failed")
        with pytest.raises(RejectedError) as caught:
            await gate
        assert (caught.value.by, caught.value.reason) == ("ben", "page 3 is empty")
        refused = problem(await here.get("/v1/jobs/gate/result", **bearer(READS)), 409, "rejected")
        assert (refused["details"]["by"], refused["details"]["reason"]) == ("ben", "page 3 is empty")
        assert "POST /v1/jobs/gate/retry opens it again" in refused["hint"]
        assert (await here.post("/v1/jobs/gate/retry", **bearer(TOKEN))).status_code == 202
        shown = await view(here, "gate", **bearer(READS))
        assert (shown["status"], shown["waits_for"], shown["gate"]["answered_by"]) == ("pending", "answer", None)


@pytest.mark.parametrize("body", [None, {}, {"reason": ""}, {"reason": "x" * 2001}, {"reason": 7}])
async def test_a_rejection_needs_a_reason_of_2000_characters_at_most(body: Any) -> None:
    async with site(works=False) as here:
        await here.jp.submit_gate("Print it?", job_id="gate")
        assert (await here.post("/v1/jobs/gate/reject", body)).status_code in (400, 415)
        assert (await view(here, "gate"))["status"] == "pending"


# -- what does not fit


@pytest.mark.parametrize("by_type", [True, False], ids=["by the type", "by the stored schema"])
@pytest.mark.parametrize(
    ("value", "pointer"),
    [
        ("no record", "#/value"),
        (None, "#/value"),
        ({"verdict": "good"}, "#/value"),
        ({"verdict": "fair", "pages": []}, "#/value/verdict"),
        ({"verdict": "good", "pages": [1, "two"]}, "#/value/pages/1"),
    ],
)
async def test_what_does_not_fit_is_named_by_its_path_and_changes_nothing(
    by_type: bool, value: Any, pointer: str
) -> None:
    backend = MemoryBackend()
    async with JobProcessor(backend, enable_daemon=False) as asking, site(works=False, backend=backend) as here:
        await (here.jp if by_type else asking).submit_gate("How is it?", answer_type=Review, job_id="gate")
        refused = problem(await here.post("/v1/jobs/gate/answer", {"value": value}), 422, "configuration")
        assert [error["pointer"] for error in refused["errors"]] == [pointer]
        assert (await view(here, "gate"))["version"] == (await here.jp.get_job("gate")).version
        assert (await view(here, "gate"))["waits_for"] == "answer"
        right = {"verdict": "good", "pages": [1, 2]}
        assert (await here.post("/v1/jobs/gate/answer", {"value": right})).status_code == 200


async def test_only_true_approves_and_only_a_choice_is_one() -> None:
    async with site(works=False) as here:
        await here.jp.submit_gate("Print it?", job_id="approval")
        await here.jp.submit_gate("Which?", choices=["red", "blue"], job_id="choice")
        refused = problem(await here.post("/v1/jobs/approval/answer", {"value": False}), 422, "configuration")
        assert "reject" in refused["hint"]
        refused = problem(await here.post("/v1/jobs/choice/answer", {"value": "rad"}), 422, "configuration")
        assert (refused["hint"], refused["details"]["allowed"]) == ("did you mean 'red'?", "'red', 'blue'")


async def test_an_answer_that_is_too_large_is_refused() -> None:
    async with site(works=False, backend=MemoryBackend(MemoryConfig(max_value_size=1024))) as here:
        await here.jp.submit_gate("What?", answer_type=str, job_id="gate")
        refused = problem(await here.post("/v1/jobs/gate/answer", {"value": "x" * 1024}), 422, "not-serializable")
        assert refused["errors"][0]["pointer"] == "#/value"


# -- who is first


async def test_a_later_answer_is_told_who_answered_when_and_the_same_one_is_accepted_again() -> None:
    async with site(auth=TOKENS, works=False) as here:
        await here.jp.submit_gate("Which?", choices=["a", "b"], job_id="gate")
        for _ in range(2):
            answer = await here.post("/v1/jobs/gate/answer", {"value": "a"}, **bearer(ANSWERER))
            assert (answer.status_code, answer.json()["status"]) == (200, "completed")
        answered_at = (await here.jp.get_job("gate")).gate.answered_at
        others = [
            here.post("/v1/jobs/gate/answer", {"value": "b"}, **bearer(ANSWERER)),
            here.post("/v1/jobs/gate/answer", {"value": "a"}, **bearer(TOKEN)),
            here.post("/v1/jobs/gate/reject", {"reason": "no"}, **bearer(ANSWERER)),
        ]
        for other in others:
            refused = problem(await other, 409, "job-state")
            assert refused["details"]["answered_by"] == "ben"
            assert refused["details"]["answered_at"] == answered_at.isoformat()
            assert "'ben'" in refused["detail"]


async def test_of_many_answers_at_once_one_is_taken() -> None:
    async with site(works=False) as here:
        await here.jp.submit_gate("Which?", answer_type=int, job_id="gate")
        codes: list[int] = []

        async def give(number: int) -> None:
            codes.append((await here.post("/v1/jobs/gate/answer", {"value": number})).status_code)

        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(give, number)
        assert sorted(codes) == [200, *[409] * 19]


async def test_what_is_not_open_or_no_gate_is_not_answered() -> None:
    async with site(add, works=False) as here:
        parent = await here.jp.submit_job(add, 1, 2, job_id="job")
        await here.jp.submit_gate("Later?", depends_on=parent, job_id="early")
        await here.jp.submit_gate("Ever?", job_id="over")
        await here.jp.cancel_job("over")
        for job_id, detail in (("early", "not open yet"), ("job", "not a gate"), ("over", "no longer open")):
            for act, body in (("answer", None), ("answer", {"value": True}), ("reject", {"reason": "no"})):
                refused = problem(await here.post(f"/v1/jobs/{job_id}/{act}", body), 409, "job-state")
                assert detail in refused["detail"]
        for act, body in (("answer", None), ("reject", {"reason": "no"})):
            problem(await here.post(f"/v1/jobs/unknown/{act}", body), 404, "job-not-found")


async def test_if_match_answers_only_the_gate_that_the_caller_has_seen() -> None:
    async with site(works=False) as here:
        await here.jp.submit_gate("Print it?", job_id="gate")
        seen = (await here.get("/v1/jobs/gate")).headers["etag"]
        await here.post("/v1/jobs/gate/reject", {"reason": "no"})
        await here.post("/v1/jobs/gate/retry")
        for act, body in (("answer", None), ("reject", {"reason": "no"})):
            problem(await here.post(f"/v1/jobs/gate/{act}", body, headers={"If-Match": seen}), 412, "changed")
        now = (await here.get("/v1/jobs/gate")).headers["etag"]
        assert (await here.post("/v1/jobs/gate/answer", headers={"If-Match": now})).status_code == 200


# -- who may


async def test_the_right_to_answer_is_a_part_of_act_and_can_be_given_alone() -> None:
    async with site(add, auth=TOKENS, works=False) as here:
        for number, (token, status) in enumerate(((TOKEN, 200), (ANSWERER, 200), (ACTS, 200), (READS, 403))):
            for act, body in (("answer", {"value": True}), ("reject", {"reason": "no"})):
                await here.jp.submit_gate("Print it?", job_id=f"{act}{number}")
                answer = await here.post(f"/v1/jobs/{act}{number}/{act}", body, **bearer(token))
                assert answer.status_code == status
                if status == 403:
                    assert "'answer'" in problem(answer, 403, "forbidden")["hint"]
        await here.jp.submit_job(add, 1, 2, job_id="job")
        problem(await here.post("/v1/jobs/job/cancel", **bearer(ANSWERER)), 403, "forbidden")


async def test_the_giver_is_the_principal_and_never_a_field_of_the_body() -> None:
    async with site(auth=TOKENS, works=False) as here:
        await here.jp.submit_gate("Print it?", job_id="gate")
        for act, body in (("answer", {"value": True}), ("reject", {"reason": "no"})):
            refused = problem(
                await here.post(f"/v1/jobs/gate/{act}", {**body, "by": "eve"}, **bearer(TOKEN)), 400, "invalid-request"
            )
            assert "`by`" in refused["detail"]
        await here.post("/v1/jobs/gate/answer", **bearer(TOKEN))
        assert (await view(here, "gate", **bearer(READS)))["gate"]["answered_by"] == "ana"


@pytest.mark.parametrize("name", ["", "x" * 201])
async def test_a_caller_whose_name_cannot_be_recorded_answers_nothing(name: str) -> None:
    async with site(auth={TOKEN: Principal(name)}, works=False) as here:
        await here.jp.submit_gate("Print it?", job_id="gate")
        for act, body in (("answer", None), ("reject", {"reason": "no"})):
            problem(await here.post(f"/v1/jobs/gate/{act}", body, **bearer(TOKEN)), 403, "forbidden")
        assert (await here.jp.get_job("gate")).waits_for is not None


async def test_a_page_of_another_site_answers_nothing() -> None:
    async with site(works=False) as here:
        await here.jp.submit_gate("Print it?", job_id="gate")
        problem(await here.http.post("/v1/jobs/gate/answer"), 403, "header-missing")
        problem(await here.post("/v1/jobs/gate/answer", headers={"Origin": "https://evil.example"}), 403, "cross-site")
        assert (await here.jp.get_job("gate")).waits_for is not None


async def test_links_to_answer_are_there_while_the_gate_is_open_and_the_caller_may() -> None:
    async with site(add, auth=TOKENS, works=False) as here:
        parent = await here.jp.submit_job(add, 1, 2, job_id="job")
        await here.jp.submit_gate("Later?", depends_on=parent, job_id="early")
        await here.jp.submit_gate("Now?", job_id="gate")
        links = {"answer": "/v1/jobs/gate/answer", "reject": "/v1/jobs/gate/reject"}
        assert links.items() <= (await view(here, "gate", **bearer(ANSWERER)))["links"].items()
        for job_id, token in (("gate", READS), ("early", TOKEN), ("job", TOKEN)):
            assert not links.keys() & (await view(here, job_id, **bearer(token)))["links"].keys()
        await here.post("/v1/jobs/gate/answer", **bearer(TOKEN))
        assert not links.keys() & (await view(here, "gate", **bearer(TOKEN)))["links"].keys()


# -- seen


@job
async def asks(park: bool) -> str:
    return await current_job().ask("Which style?", key="style", choices=["noir", "manga"], timeout=600, park=park)


async def parked(here: Site) -> None:
    """The job "book" is parked on its question."""
    await here.jp.submit_job(asks, True, job_id="book", group="books")
    with anyio.fail_after(PATIENCE):
        async for event in here.jp.stream_job("book"):
            if event.type == "released":
                return


async def test_a_question_is_part_of_its_gate_and_a_parked_job_names_its_gate() -> None:
    async with site(asks) as here:
        await parked(here)
        book, gate = await view(here, "book"), await view(here, "book%2Fstyle")
        assert (book["status"], book["waits_for"], book["parked"], book["gate"]) == (
            "pending",
            "answer",
            "book/style",
            None,
        )
        asked = gate["gate"]
        assert (asked["question"], asked["choices"], asked["schema"]) == ("Which style?", ["noir", "manga"], None)
        assert (asked["asked_by"], asked["answered_by"], asked["answered_at"]) == ("book", None, None)
        assert asked["opened_at"] < asked["deadline"]
        assert gate["run_at"] is None
        assert gate["parked"] is None
        answer = await here.post("/v1/jobs/book%2Fstyle/answer", {"value": "manga"})
        assert answer.status_code == 200
        with anyio.fail_after(PATIENCE):
            assert await here.jp.handle("book") == "manga"


async def test_what_waits_for_an_answer_is_found_and_cancelled_by_that_alone() -> None:
    async with site(add, asks) as here:
        await parked(here)
        await here.jp.submit_gate("Print it?", job_id="gate", group="books")
        await here.jp.submit_gate("Publish it?", job_id="other")
        await here.jp.submit_gate("Later?", job_id="early", depends_on="gate", group="books")
        found = (await here.get("/v1/jobs?waits_for=answer")).json()["items"]
        assert {item["id"] for item in found} == {"book", "book/style", "gate", "other"}
        found = (await here.get("/v1/jobs?waits_for=answer&group=books&limit=1")).json()
        assert found["next"] is not None
        assert {job.id for job in await here.jp.find_jobs(JobQuery(waits_for="answer", parent_id="book"))} == {
            item["id"] for item in (await here.get("/v1/jobs?waits_for=answer&parent=book")).json()["items"]
        }
        await here.jp.submit_gate("Of page 3?", job_id="third", metadata={"page": 3})
        for metadata, ids in (('{"page": 3}', ["third"]), ('{"page": 4}', []), ('{"page": "3"}', [])):
            asked = {"waits_for": "answer", "metadata": metadata}
            assert [job["id"] for job in (await here.get("/v1/jobs", params=asked)).json()["items"]] == ids
        for metadata in ("", "3", "{", '{"page": [[3]]}', "null"):
            problem(await here.get("/v1/jobs", params={"metadata": metadata}), 400, "invalid-request")
        await here.jp.cancel_job("third")
        problem(await here.get("/v1/jobs?waits_for=worker"), 400, "invalid-request")
        bulk = {"filter": {"waits_for": "answer", "group": "books"}}
        changed = (await here.post("/v1/jobs:cancel", bulk)).json()["changed"]
        assert {"book", "gate"} <= changed.keys()
        assert "early" not in changed
        assert [job.id for job in await here.jp.find_jobs(JobQuery(waits_for="answer"))] == ["other"]


async def test_secrets_in_questions_choices_and_schemas_are_hidden_as_in_other_values() -> None:
    @dataclass
    class Access:
        user: str
        api_key: str

    shown: list[str] = []

    def hide(what: str, value: Any) -> Any:
        shown.append(what)
        if what == "gate":
            return {**value, "question": value["question"].replace("hunter2", "***"), "choices": None}
        return {} if what == "event" else value

    async with site(works=False) as here:
        await here.jp.submit_gate("Which?", answer_type=Access, job_id="gate")
        fields = (await view(here, "gate"))["gate"]["schema"]["$defs"]["Access"]["properties"]
        assert (fields["user"], fields["api_key"]) == ({"type": "string"}, "•••")
        await here.post("/v1/jobs/gate/answer", {"value": {"user": "ana", "api_key": "hunter2"}})
        result = (await here.get("/v1/jobs/gate/result")).json()["result"]
        assert result == {"user": "ana", "api_key": "•••"}
    async with site(works=False, redact=hide) as here:
        await here.jp.submit_gate("Is it hunter2?", choices=["hunter2", "hunter3"], job_id="gate")
        for path in (
            "/v1/jobs/gate",
            "/v1/jobs",
            "/v1/snapshot",
            "/v1/jobs/gate/events?once=true",
            "/v1/jobs/gate/arguments",
            "/v1/jobs/gate/why",
        ):
            assert "hunter" not in (await here.get(path)).text
        assert "gate" in shown
        assert "Is it ***?" in (await here.get("/v1/jobs/gate")).text


@pytest.mark.parametrize("made", ["•••", None, {"question": 7}, {"choices": "a"}], ids=repr)
async def test_whatever_redact_returns_of_a_question_the_job_is_shown(made: Any) -> None:
    async with site(works=False, redact=lambda what, value: made if what == "gate" else value) as here:
        await here.jp.submit_gate("Is it hunter2?", choices=["hunter2"], job_id="gate")
        shown = (await view(here, "gate"))["gate"]
        assert (shown["question"], shown["choices"], shown["schema"]) == ("•••", None, None)


async def test_texts_of_a_refusal_are_redacted_too() -> None:
    def hide(what: str, value: Any) -> Any:
        return value.replace("hunter2", "***") if what == "error" else value

    async with site(works=False, redact=hide) as here:
        await here.jp.submit_gate("Which?", choices=["hunter2", "other"], job_id="gate")
        assert "hunter2" not in (await here.post("/v1/jobs/gate/answer", {"value": "hunter"})).text


async def test_a_gate_has_no_arguments_and_why_names_it() -> None:
    async with site(asks) as here:
        await parked(here)
        for job_id in ("book", "book%2Fstyle"):
            why = (await here.get(f"/v1/jobs/{job_id}/why")).json()
            assert (why["code"], why["details"]["gate"]) == ("answer", "book/style")
            assert "Which style?" in why["sentence"]
        arguments = (await here.get("/v1/jobs/book%2Fstyle/arguments")).json()
        assert (arguments["args"], arguments["kwargs"], arguments["unreadable"]) == ([], {}, None)


async def test_a_route_of_the_program_sends_gates_as_the_interface_does() -> None:
    async with site(asks) as here:
        await parked(here)
        for job_id in ("book", "book/style"):
            stored = await here.jp.get_job(job_id)
            assert from_json(Job, as_json(stored)) == stored
            shown = await view(here, job_id.replace("/", "%2F"))
            assert (shown["gate"], shown["parked"]) == tuple(as_json(stored)[name] for name in ("gate", "parked"))


async def test_without_what_checks_schemas_nothing_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = MemoryBackend()
    async with JobProcessor(backend, enable_daemon=False) as asking, site(works=False, backend=backend) as here:
        await asking.submit_gate("How many?", answer_type=int, job_id="gate")
        monkeypatch.setitem(sys.modules, "jsonschema", None)
        refused = problem(await here.post("/v1/jobs/gate/answer", {"value": 1}), 500, "missing-extra")
        assert "install" in refused["hint"]
        assert (await view(here, "gate"))["waits_for"] == "answer"


# -- submitting


async def test_a_gate_is_submitted_where_jobs_are() -> None:
    async with site(add, submit=True, works=False) as here:
        asked = {
            "question": "Print it?",
            "choices": ["yes", "no"],
            "reject_on": ["no"],
            "timeout": 60,
            "default": "yes",
        }
        parent = (await here.post("/v1/jobs", {"function": named(add), "args": [1, 2], "id": "job"})).json()["id"]
        body = {"gate": asked, "id": "gate", "depends_on": [parent], "group": "g", "metadata": {"page": 1}}
        answer = await here.post("/v1/jobs", body)
        assert (answer.status_code, answer.headers["location"]) == (202, "/v1/jobs/gate")
        shown = answer.json()
        assert (shown["function"], shown["group"], shown["metadata"], shown["depends_on"]) == (
            "gate",
            "g",
            {"page": 1},
            ["job"],
        )
        assert (shown["gate"]["question"], shown["gate"]["reject_on"]) == ("Print it?", ["no"])
        assert (await here.post("/v1/jobs", body)).status_code == 200
        problem(await here.post("/v1/jobs", {**body, "gate": {**asked, "question": "Burn it?"}}), 409, "job-conflict")


async def test_a_gate_with_a_schema_is_answered_by_it() -> None:
    schema = {"type": "array", "items": {"type": "integer"}, "maxItems": 2}
    async with site(submit=True, works=False) as here:
        body = {"gate": {"question": "Which pages?", "schema": schema, "timeout": 60, "default": None}, "id": "gate"}
        problem(await here.post("/v1/jobs", body), 400, "configuration")  # the default does not fit
        body = {"gate": {"question": "Which pages?", "schema": schema, "timeout": 60, "default": [1]}, "id": "gate"}
        answer = await here.post("/v1/jobs", body)
        assert answer.status_code == 202, answer.text
        assert (await view(here, "gate"))["gate"]["schema"] == schema
        refused = problem(await here.post("/v1/jobs/gate/answer", {"value": [1, "2"]}), 422, "configuration")
        assert refused["errors"][0]["pointer"] == "#/value/1"
        assert (await here.post("/v1/jobs/gate/answer", {"value": [1, 2]})).status_code == 200


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "nonsense"}, "JSON Schema"),
        ({"$ref": "https://evil.example/schema.json"}, "evil.example"),
        ({"items": [{"$ref": "file:///etc/passwd"}]}, ""),
        ({"items": {"$schema": "https://json-schema.org/draft/2020-12/schema"}}, "$schema"),
        ({"type": "string", "pattern": "^(a+)+$"}, "regular expression"),
        ({"properties": {"name": {"patternProperties": {"^(a+)+$": {}}}}}, "regular expression"),
    ],
)
async def test_a_schema_that_is_none_or_refers_to_elsewhere_is_refused(schema: Any, why: str) -> None:
    async with site(submit=True, works=False) as here:
        refused = problem(
            await here.post("/v1/jobs", {"gate": {"question": "?", "schema": schema}}), 400, "invalid-request"
        )
        assert refused["errors"][0]["pointer"] == "#/gate/schema"
        assert why in refused["detail"]
        assert await here.jp.find_jobs() == []


@pytest.mark.parametrize("dialect", [{}, {"$schema": "https://json-schema.org/draft/2020-12/schema"}])
async def test_a_small_schema_that_stands_for_endless_checks_does_not_hold_the_server(
    monkeypatch: pytest.MonkeyPatch, dialect: dict[str, Any]
) -> None:
    monkeypatch.setattr(json_schemas, "_MOST_CHECKS", 1000)
    pairs = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(60)}
    again = {"properties": {"a": {"$ref": "#"}}}
    endless = {"if": {"type": "object"}, "then": again, "else": {"$ref": "#/$defs/d0"}, "$defs": pairs | {"d60": {}}}
    async with site(submit=True, works=False) as here:
        gate = {"question": "?", "schema": endless | dialect}
        assert (await here.post("/v1/jobs", {"id": "g", "gate": gate})).status_code == 202
        refused = problem(await here.post("/v1/jobs/g/answer", {"value": {"a": 1}}), 422, "configuration")
        assert "1,000 checks" in refused["detail"]


async def test_a_number_that_is_too_large_has_no_place_that_is_known() -> None:
    async with site(works=False) as here:
        body = b'{"value": ' + b"9" * 5000 + b"}"
        answer = await here.http.post(
            "/v1/jobs/g/answer", content=body, headers=ACT | {"content-type": "application/json"}
        )
        assert problem(answer, 400, "invalid-request")["errors"][0]["pointer"] == "#"


async def test_a_gate_has_no_options_of_calls_and_a_job_needs_a_function() -> None:
    options = {"function": named(add), "args": [1], "kwargs": {"a": 1}, "queue": "q", "priority": 0, "timeout": 5}
    async with site(add, submit=True, works=False) as here:
        for name, value in options.items():
            refused = problem(
                await here.post("/v1/jobs", {"gate": {"question": "?"}, name: value}), 400, "invalid-request"
            )
            assert refused["errors"][0]["pointer"] == f"#/{name}"
        for body in ({}, {"id": "a"}, {"function": None}):
            assert "`function`" in problem(await here.post("/v1/jobs", body), 400, "invalid-request")["detail"]
        for asked in ({}, {"question": ""}, {"question": "?", "choices": []}, {"question": "?", "timeout": 0}):
            problem(await here.post("/v1/jobs", {"gate": asked}), 400, "invalid-request")
        problem(await here.post("/v1/jobs", {"gate": {"question": "x" * 20_000}}), 400, "configuration")
        assert await here.jp.find_jobs() == []


async def test_gates_are_submitted_only_where_submitting_is_enabled() -> None:
    async with site(works=False) as here:
        problem(await here.post("/v1/jobs", {"gate": {"question": "?"}}), 403, "submit-disabled")
