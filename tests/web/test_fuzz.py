"""Whatever is asked, no answer is a fault of the server, and each is as the OpenAPI document says.

``ASYNCJOBS_FUZZ=500`` asks more, and something else every time: so many examples of each kind.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_from_bytes, urlencode, urlsplit

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.web.contract import Contract, Json
from tests.web.support import ACT, PATIENCE, parse
from tests.web.zoo import GROUPS, IDS, NAMES, zoo_in_thread

MORE = int(os.environ.get("ASYNCJOBS_FUZZ", "0"))
contract = Contract()
pytestmark = [
    pytest.mark.slow,
    # The server runs in a thread of this process, and draws its pauses at random while strategies draw.
    pytest.mark.filterwarnings("ignore:Do not use the `random` module:hypothesis.errors.HypothesisDeprecationWarning"),
    pytest.mark.timeout(0 if MORE else 300),  # thousands of requests
]
fuzzed = settings(
    max_examples=MORE or 40,
    derandomize=not MORE,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


class Once:
    """Asks for a page of every event stream: a stream of all events has no end."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].rstrip("/").endswith("/events"):
            scope = {**scope, "query_string": scope["query_string"] + b"&once=true"}
        await self._app(scope, receive, send)


def narrowed() -> Json:
    """The document as a fuzzer needs it: it finds jobs that exist, and does not wait for minutes."""
    document = copy.deepcopy(contract.document)
    for of_path in document["paths"].values():
        for operation in of_path.values():
            kept: list[Json] = []
            for parameter in operation["parameters"]:
                name = parameter.get("name")
                if parameter.get("in") == "path":
                    known = IDS if name == "id" else GROUPS
                    parameter["schema"] = {"anyOf": [{"enum": known}, parameter["schema"]]}
                waits = operation["operationId"] == "get_job" and parameter.get("$ref", "").endswith("/IfNoneMatch")
                if name != "once" and not waits:
                    kept.append(parameter)
            operation["parameters"] = kept
    function = document["components"]["schemas"]["Submit"]["properties"]["function"]
    function["anyOf"] = [{"enum": NAMES}, {"type": "string"}]
    return document


CONFIGURATION = """
warnings = false
request-timeout = 10
continue-on-failure = true
headers = { X-Asyncjobs = "1" }

[checks.negative_data_rejection]
expected-statuses = [400, 403, 404, 405, 406, 409, 412, 413, 414, 415, 422, 431]

[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", 404, 409, 412, 422]

[[operations]]  # schemas cannot say what a cursor is, nor that some field must be given
include-operation-id = [
  "list_jobs", "job_logs", "job_events", "group_events", "all_events", "submit", "cancel_many", "retry_many",
]
checks.positive_data_acceptance.enabled = false
"""


@pytest.mark.skipif(find_spec("schemathesis") is None, reason="it needs newer packages than the lowest ones")
def test_every_operation_answers_as_the_document_says(tmp_path: Path) -> None:
    """Schemathesis: examples, boundaries, what fits the document, what does not, and sequences of requests."""
    (tmp_path / "openapi.json").write_text(json.dumps(narrowed()))
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION)
    # Not its plugin for pytest: that makes every other test wait for its import.
    command = [sys.executable, "-m", "schemathesis.cli", "run", "openapi.json", "--no-color", "--max-examples"]
    how = [str(MORE), "--generation-database=none"] if MORE else ["5", "--seed=1", "--generation-deterministic"]
    with zoo_in_thread(tmp_path, wrap=Once) as url:
        run = subprocess.run(
            [*command, *how, f"--url={url}"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"Tested: {len(contract.operations)}" in run.stdout
    print(run.stdout)


# -- streams, and what no document describes


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with zoo_in_thread(tmp_path_factory.mktemp("zoo")) as url:
        yield url


anything = st.text(max_size=30)
cursors = st.one_of(st.integers(-1, 60).map(str), st.integers().map(str), anything)
types = st.lists(st.one_of(st.sampled_from(["completed", "progress", "log", "no-such"]), anything), max_size=3)
flags = st.sampled_from(["true", "false", "1", "0"])
header_values = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=30).map(
    str.strip
)
paths = st.sampled_from(
    ["/v1/events"]
    + [f"/v1/jobs/{quote(name, safe='')}/events" for name in IDS]
    + [f"/v1/groups/{quote(name, safe='')}/events" for name in GROUPS]
)
asked = st.fixed_dictionaries(
    {}, optional={"after": cursors, "types": types.map(",".join), "plain": flags, "limit": anything, "ticket": anything}
)
accepted = st.sampled_from(["text/event-stream", "application/x-ndjson", "text/*, a/b"])
told = st.fixed_dictionaries(
    {},
    optional={
        "Last-Event-ID": st.one_of(st.integers(0, 60).map(str), header_values),
        "Accept": st.one_of(accepted, header_values),
        "X-Request-Id": header_values,
    },
)


@fuzzed
@given(path=paths, query=asked, headers=told)
def test_streams_begin_as_the_document_says(url: str, path: str, query: Json, headers: dict[str, str]) -> None:
    given_headers = [(name, value.encode("latin-1")) for name, value in headers.items()]
    with httpx.stream("GET", f"{url}{path}?{urlencode(query)}", headers=given_headers, timeout=PATIENCE) as answer:
        kind = answer.headers.get("content-type", "").partition(";")[0]
        if kind not in ("text/event-stream", "application/x-ndjson"):
            answer.read()
            contract.check("GET", path, answer)
            return
        first = next(answer.iter_bytes(), b"")
        contract.check("GET", path, answer, first)
    whole = first[: first.rfind(b"\n\n") + 2] if kind == "text/event-stream" else first[: first.rfind(b"\n") + 1]
    if kind == "application/x-ndjson":
        records = [json.loads(line) for line in whole.split(b"\n") if line]
    else:
        frames = [parse(block) for block in whole.decode().split("\n\n")]
        records = [frame.json() for frame in frames if frame.data and "job_id" in frame.json()]
        bare = query.get("plain") in ("true", "1")
        for frame in frames:
            assert frame.id is None or frame.id.isdigit()
            assert frame.event == "message" or not bare
    for record in records:
        if "job_id" in record:
            contract.fits(record, {"$ref": "#/components/schemas/Event"})


def ask(url: str, method: str, target: str, headers: dict[str, str], body: bytes | None = None) -> None:
    """A request as it is, nothing of it mended. Its answer is no fault, and not the server's own page."""
    place = urlsplit(url)
    with closing(HTTPConnection(place.hostname or "", place.port, timeout=PATIENCE)) as connection:
        connection.request(method, target, body, {name: value.encode("latin-1") for name, value in headers.items()})
        answer = connection.getresponse()
        text = answer.read()
    assert answer.status < 500, text
    if answer.status >= 400 and text:
        assert answer.headers["content-type"] == "application/problem+json", text
        contract.fits(json.loads(text), {"$ref": "#/components/schemas/Problem"})


encoded = st.one_of(st.binary(max_size=20), anything.map(str.encode)).map(lambda raw: quote_from_bytes(raw, safe=""))
names = st.sampled_from(["v1", "jobs", "groups", "events", "movie", "..", ".", "", "%2e%2e", "%00"])
headers_known = st.sampled_from(
    ["Accept", "If-Match", "If-None-Match", "Content-Type", "Cookie", "Authorization", "Origin", "Idempotency-Key"]
)


@fuzzed
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT"]),
    path=st.lists(encoded | names, max_size=5).map("/".join),
    query=encoded,
    headers=st.dictionaries(headers_known, header_values),
)
def test_any_target_and_headers_are_answered(
    url: str, method: str, path: str, query: str, headers: dict[str, str]
) -> None:
    if path.endswith("events"):
        query += "&once=true"
    ask(url, method, f"/{path}?{query}", ACT | headers)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | anything,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(anything | st.just("$job"), inner, max_size=4),
    max_leaves=12,
)
WITH_BODIES = [path for (_, path), operation in contract.operations.items() if "requestBody" in operation]


@fuzzed
@given(
    path=st.sampled_from(WITH_BODIES),
    body=st.one_of(st.binary(max_size=40), json_values.map(lambda value: json.dumps(value).encode())),
)
def test_any_body_is_answered(url: str, path: str, body: bytes) -> None:
    target = path.replace("{id}", "completed")
    ask(url, "POST", target, ACT | {"Content-Type": "application/json"}, body)


@fuzzed
@given(
    args=st.lists(json_values, max_size=3),
    kwargs=st.dictionaries(anything, json_values, max_size=3),
    metadata=json_values,
)
def test_what_was_submitted_is_shown_in_every_way(url: str, args: Any, kwargs: Any, metadata: Any) -> None:
    """Whatever JSON a job is made of and returns, it can be looked at as the document says."""
    with httpx.Client(base_url=url, headers=ACT, timeout=PATIENCE) as client:
        body = {"function": NAMES[0], "args": args, "kwargs": kwargs, "metadata": {"of": metadata}}
        answer = client.post("/v1/jobs", content=json.dumps(body), headers={"Content-Type": "application/json"})
        contract.check("POST", "/v1/jobs", answer)
        if answer.status_code == 202:
            own = answer.headers["location"]
            for part in ("", "/arguments", "/events", "/logs", "/attempts", "/graph", "/why", "/result"):
                answer = client.get(own + part)  # the events end with the job: after them, there is a result
                contract.check("GET", own + part, answer)
                assert answer.status_code in (200, 409)
