"""The OpenAPI document says what there is: it is compared with the routing table, and with real answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest
from msgspec.structs import fields
from openapi_spec_validator import OpenAPIV31SpecValidator

from asyncjobs import JobProcessor, MemoryBackend
from asyncjobs.web import requests
from asyncjobs.web.routes import TABLE, Entry
from tests.web.contract import Contract
from tests.web.support import ACT, TOKEN, parse
from tests.web.zoo import GROUPS, IDS, NAMES, ODD, zoo_in_thread

contract = Contract()
DOCUMENT = contract.document
OPERATIONS = {operation["operationId"]: operation for operation in contract.operations.values()}
by_entry = pytest.mark.parametrize("entry", TABLE, ids=lambda entry: f"{entry.method} {entry.path}")


def operation_of(entry: Entry) -> dict[str, Any]:
    return contract.operations[entry.method, entry.path]


def parameters_of(entry: Entry, place: str) -> dict[str, Any]:
    parameters = map(contract.resolved, operation_of(entry)["parameters"])
    return {parameter["name"]: parameter for parameter in parameters if parameter["in"] == place}


# -- the document by itself


def test_it_is_valid_openapi_3_1() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()
    assert DOCUMENT["openapi"].startswith("3.1.")


def test_operations_have_names_that_make_methods_of_a_client() -> None:
    assert len(OPERATIONS) == len(TABLE)
    assert [name for name in OPERATIONS if not re.fullmatch(r"[a-z]+(_[a-z0-9]+)*", name)] == []


def test_every_operation_is_described_and_has_its_place() -> None:
    tags = {tag["name"] for tag in DOCUMENT["tags"]}
    for name, operation in OPERATIONS.items():
        assert 3 < len(operation["summary"]) < 100, name
        assert operation["description"].startswith(operation["summary"]), name
        assert "``" not in operation["description"], name
        assert len(operation["tags"]) == 1, name
        assert tags.issuperset(operation["tags"]), name


def test_schemas_are_described_named_for_what_they_are_and_used() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert {"Job", "Event", "Problem", "Submit", "JobStatus"} < set(schemas)
    assert [name for name in schemas if name.endswith("View") or not schemas[name].get("description")] == []
    text = str(DOCUMENT)
    for kind, parts in DOCUMENT["components"].items():
        if kind != "securitySchemes":
            assert [name for name in parts if f"'#/components/{kind}/{name}'" not in text] == []


def test_moments_and_what_is_one_of_a_few_words_say_so() -> None:
    job = DOCUMENT["components"]["schemas"]["Job"]["properties"]
    assert job["created_at"] == {"type": "string", "format": "date-time"}
    assert job["waits_for"]["anyOf"][0]["enum"] == ["worker", "limit", "time", "dependencies", "answer"]
    assert DOCUMENT["components"]["schemas"]["JobStatus"]["enum"] == [
        "cancelled", "completed", "failed", "in_progress", "pending", "skipped",
    ]  # fmt: skip


def test_the_ways_to_sign_in_are_described() -> None:
    schemes = DOCUMENT["components"]["securitySchemes"]
    assert schemes["bearer"] == {"type": "http", "scheme": "bearer"}
    assert (schemes["cookie"]["in"], schemes["ticket"]["in"]) == ("cookie", "query")
    for entry in TABLE:
        ways = operation_of(entry).get("security", DOCUMENT["security"])
        assert ({"ticket": []} in ways) is entry.streams, entry.path
        assert ({"bearer": []} in ways) is (entry.right is not None), entry.path


EVENT = {"$ref": "#/components/schemas/Event"}


@pytest.mark.parametrize("name", [name for name in DOCUMENT["components"]["examples"] if name != "lines"])
def test_the_examples_of_event_streams_are_event_streams(name: str) -> None:
    text: str = DOCUMENT["components"]["examples"][name]["value"]
    assert text.endswith("\n\n")
    frames = [parse(block) for block in text.removesuffix("\n\n").split("\n\n")]
    for frame in (frame for frame in frames if frame.data):
        if frame.event in ("end", "reset", "bye") or "job_id" not in frame.json():
            continue
        contract.fits(frame.json(), EVENT)
        assert frame.id == frame.json()["cursor"]
        assert frame.event in ("message", frame.json()["type"])
    assert any(frame.id or frame.data for frame in frames)


def test_the_example_of_json_lines_is_one() -> None:
    lines = DOCUMENT["components"]["examples"]["lines"]["value"].splitlines()
    records = [json.loads(line) for line in lines if line]
    assert [record["type"] for record in records] == ["submitted", "started", "progress", "completed", "end"]
    for record in records[:-1]:
        contract.fits(record, EVENT)


def test_the_examples_of_requests_fit_what_they_are_examples_of() -> None:
    shown = 0
    for operation in OPERATIONS.values():
        media = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        if "example" in media:
            contract.fits(media["example"], media["schema"])
            shown += 1
    assert shown == 4


# -- the document and the table of routes


def test_it_lists_every_route_and_nothing_else() -> None:
    assert set(contract.operations) == {(entry.method, entry.path) for entry in TABLE}


@by_entry
def test_parameters_are_those_of_the_route(entry: Entry) -> None:
    assert set(parameters_of(entry, "path")) == set(re.findall(r"{(\w+)}", entry.path))
    asked = {field.encode_name: field for field in fields(entry.query)}
    described = parameters_of(entry, "query")
    assert set(described) == set(asked)
    for name, parameter in described.items():
        assert parameter["required"] is asked[name].required
        assert {"type": "null"} not in parameter["schema"].get("anyOf", [])
        assert parameter.get("description"), name


@by_entry
def test_headers_that_are_understood_are_described(entry: Entry) -> None:
    headers = {"X-Request-Id"}
    if entry.method != "GET":
        headers |= {"X-Asyncjobs"}
    if 304 in entry.answers:
        headers |= {"If-None-Match"}
    if 412 in entry.problems:
        headers |= {"If-Match"}
    if entry.streams:
        headers |= {"Last-Event-ID"}
    if (entry.method, entry.path) == ("POST", "/v1/jobs"):
        headers |= {"Idempotency-Key"}
    assert set(parameters_of(entry, "header")) == headers


@by_entry
def test_bodies_answers_and_problems_are_those_of_the_route(entry: Entry) -> None:
    operation = operation_of(entry)
    assert ("requestBody" in operation) is (entry.body is not None)
    if entry.body is not None:
        needed = entry.body is requests.Submit or any(field.required for field in fields(entry.body))
        assert operation["requestBody"]["required"] is needed
    described = {int(status): contract.resolved(response) for status, response in operation["responses"].items()}
    assert {*entry.answers, *entry.problems} <= set(described)
    for status, response in described.items():
        content = set(response.get("content", {}))
        if status in entry.answers:
            assert ("application/json" in content) is (entry.answers[status] is not None)
            assert ("text/event-stream" in content) is (entry.streams and status == 200)
        else:
            assert content == {"application/problem+json"}
        assert "X-Request-Id" in response["headers"]


# -- the judge


ALIVE = {"status": "ok", "details": {}}


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (httpx.Response(200, headers={"X-Request-Id": "1"}, json=ALIVE | {"more": 1}), "'more' was unexpected"),
        (httpx.Response(200, headers={"X-Request-Id": "1"}, json=ALIVE | {"status": "fine"}), "'fine' is not one of"),
        (httpx.Response(200, headers={"X-Request-Id": "1"}, text="ok"), "is 'text/plain', and not one of"),
        (httpx.Response(200, json=ALIVE), "comes without X-Request-Id"),
        (httpx.Response(200, headers={"X-Request-Id": "1", "ETag": '"1"'}, json=ALIVE), "comes with ETag"),
        (httpx.Response(410, headers={"X-Request-Id": "1"}, json=ALIVE), "answered 410, which is not described"),
        (httpx.Response(500, headers={"X-Request-Id": "1"}, json=ALIVE), "answered 500"),
    ],
)
def test_an_answer_that_does_not_fit_is_noticed(answer: httpx.Response, complaint: str) -> None:
    contract.check("GET", "/healthz", httpx.Response(200, headers={"X-Request-Id": "1"}, json=ALIVE))
    with pytest.raises(AssertionError, match=complaint):
        contract.check("GET", "/healthz", answer)


# -- the document and real answers


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a server that holds jobs in every state."""
    with zoo_in_thread(tmp_path_factory.mktemp("zoo"), max_body=4096) as url, httpx.Client(base_url=url) as client:
        yield client


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """One of a server that wants a token."""
    with zoo_in_thread(tmp_path_factory.mktemp("zoo"), auth=TOKEN) as url, httpx.Client(base_url=url) as client:
        yield client


def ask(client: httpx.Client, method: str, path: str, **options: Any) -> httpx.Response:
    """The answer, which fits the document. Of a stream, the first piece is read."""
    options["headers"] = ACT | options.get("headers", {})
    with client.stream(method, path, **options) as answer:
        streams = answer.headers.get("content-type", "").startswith(("text/event-stream", "application/x-ndjson"))
        body = next(answer.iter_raw(), b"") if streams else answer.read()
        contract.check(method, urlsplit(path).path, answer, body)
    return answer


def job(job_id: str, rest: str = "") -> str:
    return f"/v1/jobs/{quote(job_id, safe='')}{rest}"


def group(name: str, rest: str = "") -> str:
    return f"/v1/groups/{quote(name, safe='')}{rest}"


DRAW = {"function": NAMES[0], "id": "fresh"}
ANSWERED: dict[str, Any] = {"answer": {"value": "b"}, "reject": {"reason": "no"}}
STALE = {"If-Match": '"v999"'}
PARTS = ("arguments", "logs", "attempts", "why", "graph")
NOT_A_STREAM = {"Accept": "image/png"}
LINES = {"Accept": "application/x-ndjson"}
KNOWN = {"If-None-Match": "*"}

ANSWERS: list[tuple[str, str, int, dict[str, Any]]] = [
    ("GET", "/", 200, {}),
    ("GET", "/v1", 200, {}),
    ("GET", "/v1/openapi.json", 200, {}),
    *(("GET", job(name), 200, {}) for name in IDS),
    *(("GET", job(name, f"/{part}"), 200, {}) for name in IDS for part in PARTS),
    *(("GET", job(name, "/events?once=true"), 200, {}) for name in IDS),
    *(("GET", job(name, "/events"), 200, {}) for name in IDS),
    *(("GET", job(name, "/events"), 200, {"headers": LINES}) for name in IDS),
    *(("GET", group(name), 200, {}) for name in GROUPS),
    *(("GET", group(name, "/graph"), 200, {}) for name in GROUPS),
    *(("GET", group(name, "/graph?collapse=function"), 200, {}) for name in GROUPS),
    *(("GET", group(name, "/events?once=true"), 200, {}) for name in GROUPS),
    *(("GET", group(name, "/events"), 200, {}) for name in GROUPS),
    ("GET", job("failed"), 304, {"headers": KNOWN}),
    ("GET", job("nobody"), 404, {}),
    *(("GET", job(name, "/result"), 200, {}) for name in ("completed", "movie", "movie/1", ODD)),
    *(("GET", job(name, "/result"), 202, {}) for name in ("in_progress", "later", "waiting", "retrying", "gate")),
    *(("GET", job(name, "/result"), 409, {}) for name in ("failed", "cancelled", "skipped")),
    *(("GET", job("nobody", f"/{part}"), 404, {}) for part in (*PARTS, "result", "events")),
    ("GET", job("completed", "/events"), 406, {"headers": NOT_A_STREAM}),
    ("GET", "/v1/jobs", 200, {}),
    ("GET", "/v1/jobs?limit=2&status=pending,failed&order=oldest", 200, {}),
    ("GET", "/v1/groups", 200, {}),
    ("GET", group("nobody"), 404, {}),
    ("GET", group("nobody", "/graph"), 404, {}),
    ("GET", group("nobody", "/events"), 404, {}),
    ("GET", group(ODD, "/events"), 406, {"headers": NOT_A_STREAM}),
    ("GET", "/v1/events", 200, {}),
    ("GET", "/v1/events", 200, {"headers": LINES}),
    ("GET", "/v1/events?once=true&limit=3", 200, {}),
    ("GET", "/v1/events", 406, {"headers": NOT_A_STREAM}),
    *(("GET", f"/v1/{name}", 200, {}) for name in ("stats", "workers", "snapshot")),
    *(("GET", f"/v1/{name}", 304, {"headers": KNOWN}) for name in ("stats", "snapshot")),
    ("GET", "/healthz", 200, {}),
    ("GET", "/readyz", 200, {}),
    ("POST", "/v1/tickets", 201, {}),
    ("POST", "/v1/session", 409, {}),
    ("DELETE", "/v1/session", 204, {}),
    ("POST", "/v1/jobs:batch", 200, {"json": {"ids": [*IDS, "nobody"]}}),
    ("POST", "/v1/jobs", 202, {"json": DRAW}),
    ("POST", "/v1/jobs", 200, {"json": DRAW}),
    ("POST", "/v1/jobs", 409, {"json": DRAW | {"args": [1]}}),
    ("POST", "/v1/jobs", 422, {"json": {"function": "os:system"}}),
    ("POST", job("later", "/cancel"), 412, {"headers": STALE}),
    ("POST", job("later", "/cancel"), 202, {}),
    ("POST", job("later", "/cancel"), 200, {}),
    ("POST", job("completed", "/cancel"), 409, {}),
    ("POST", job("nobody", "/cancel"), 404, {}),
    ("POST", job("later", "/retry"), 412, {"headers": STALE}),
    ("POST", job("cancelled", "/retry"), 202, {}),
    ("POST", job("completed", "/retry"), 409, {}),
    ("POST", job("nobody", "/retry"), 404, {}),
    ("POST", "/v1/jobs", 202, {"json": {"gate": {"question": "Now?"}, "id": "asked"}}),
    ("GET", "/v1/jobs?waits_for=answer", 200, {}),
    *(("POST", job("choice", f"/{act}"), 412, {"headers": STALE, "json": body}) for act, body in ANSWERED.items()),
    ("POST", job("choice", "/answer"), 422, {"json": {"value": "c"}}),
    *(("POST", job(name, f"/{act}"), 404, {"json": body}) for name in ("nobody",) for act, body in ANSWERED.items()),
    ("POST", job("choice", "/answer"), 200, {"json": {"value": "a"}}),
    ("POST", job("gate", "/reject"), 200, {"json": {"reason": "no"}}),
    ("GET", job("gate"), 200, {}),
    ("GET", job("gate", "/result"), 409, {}),
    *(("POST", job("choice", f"/{act}"), 409, {"json": body}) for act, body in ANSWERED.items()),
    ("POST", "/v1/jobs:cancel", 202, {"json": {"filter": {"waits_for": "answer"}}}),
    ("POST", "/v1/jobs:cancel", 409, {"json": {"filter": {"group": "movie"}, "expect": 99}}),
    ("POST", "/v1/jobs:retry", 409, {"json": {"filter": {"group": "movie"}, "expect": 99}}),
    ("POST", "/v1/jobs:retry", 202, {"json": {"filter": {"status": ["failed"]}}}),
    ("POST", "/v1/jobs:cancel", 202, {"json": {"filter": {"group": "movie"}}}),
]  # fmt: skip
"""What is asked, in this order, of a store with jobs in every state; and the status of the answer."""


def test_every_answer_fits_the_document(zoo: httpx.Client) -> None:
    seen: set[tuple[str, int]] = set()
    for method, path, status, options in ANSWERS:
        answer = ask(zoo, method, path, **options)
        assert answer.status_code == status, (method, path)
        seen.add((contract.operations[method, contract.path_of(urlsplit(path).path)]["operationId"], status))
    shown_elsewhere = {("job_events", 204), ("group_events", 204), ("open_session", 204), ("ready", 503)}
    too_much_for_a_test = {("cancel_many", 422), ("retry_many", 422)}  # more than 100,000 jobs
    of_the_routes = {
        (operation_of(entry)["operationId"], status) for entry in TABLE for status in (*entry.answers, *entry.problems)
    }
    assert of_the_routes - seen == shown_elsewhere | too_much_for_a_test


@pytest.mark.parametrize("path", [job("completed", "/events"), group(ODD, "/events")])
def test_a_stream_that_was_delivered_to_its_end_is_a_204(zoo: httpx.Client, path: str) -> None:
    delivered = ask(zoo, "GET", f"{path}?once=true").json()["cursor"]
    assert ask(zoo, "GET", path, headers={"Last-Event-ID": delivered}).status_code == 204


def test_a_page_that_is_not_the_last_links_to_the_next_one(zoo: httpx.Client) -> None:
    first = ask(zoo, "GET", "/v1/jobs?limit=2")
    assert f"cursor={first.json()['next']}" in first.headers["link"]


by_request = pytest.mark.parametrize(
    ("method", "path"), [(method, re.sub(r"{\w+}", "movie", path)) for method, path in contract.operations]
)


@by_request
def test_problems_that_any_request_may_have_fit_it_too(zoo: httpx.Client, method: str, path: str) -> None:
    assert ask(zoo, method, f"{path}?no=such", json={}).status_code == 400
    assert ask(zoo, method, path, headers={"Host": "example.org"}).status_code == 403
    assert ask(zoo, method, path, headers={"X-Long": "x" * 17_000}).status_code == 431
    assert ask(zoo, method, f"{path}?a={'x' * 17_000}").status_code == 414
    if method != "GET":
        assert ask(zoo, method, path, headers={"Origin": "https://example.org"}).status_code == 403


@pytest.mark.parametrize("path", DOCUMENT["paths"])
def test_another_method_is_a_405_that_allows_the_ones_described(zoo: httpx.Client, path: str) -> None:
    methods = {method.upper() for method in DOCUMENT["paths"][path]}
    answer = zoo.patch(re.sub(r"{\w+}", "movie", path), headers=ACT)
    contract.check(next(iter(methods)), re.sub(r"{\w+}", "movie", path), answer)
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) - {"HEAD", "OPTIONS"} == methods


@pytest.mark.parametrize("entry", [entry for entry in TABLE if entry.body], ids=lambda entry: entry.path)
def test_bodies_that_are_no_bodies_fit_it_too(zoo: httpx.Client, entry: Entry) -> None:
    path = entry.path.replace("{id}", "movie")
    assert ask(zoo, "POST", path, content=b"{}", headers={"Content-Type": "text/plain"}).status_code == 415
    for content, status in ((b"[]", 400), (b"{", 400), (b'{"no": 1}', 400), (b" " * 5000, 413)):
        answer = ask(zoo, "POST", path, content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == status, content[:10]


@by_request
def test_who_is_not_signed_in_gets_a_401_where_it_is_described(guarded: httpx.Client, method: str, path: str) -> None:
    open_to_all = contract.operations[method, contract.path_of(path)].get("security") == []
    assert ("401" in contract.operations[method, contract.path_of(path)]["responses"]) is not open_to_all
    assert (ask(guarded, method, path).status_code == 401) is not open_to_all


def test_signing_in_fits_it(guarded: httpx.Client) -> None:
    assert ask(guarded, "POST", "/v1/session", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 204


@pytest.mark.anyio
async def test_a_processor_that_does_not_run_gives_answers_that_fit() -> None:
    app = JobProcessor(MemoryBackend()).asgi_app()
    answered: dict[str, int] = {}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        for (method, path), operation in contract.operations.items():
            url = re.sub(r"{\w+}", "movie", path)
            body = {"json": {"ids": ["a"]}} if path.endswith(":batch") else {}
            answer = await client.request(method, url, headers=ACT, **body)
            contract.check(method, url, answer)
            answered[operation["operationId"]] = answer.status_code
    assert answered["get_job"] == answered["list_groups"] == answered["all_events"] == answered["ready"] == 503
    assert answered["alive"] == answered["index"] == 200
