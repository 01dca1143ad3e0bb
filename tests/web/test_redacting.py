"""``redact=``: what people may see of arguments, results, logs, metadata, errors, and of the frames of a stream."""

from __future__ import annotations

import json
from typing import Any

import pytest

from asyncjobs.web import redact_secrets
from tests.web.bodies import add, echo, fail, sign_in, talk
from tests.web.sites import Site, site
from tests.web.support import PATIENCE, streaming

pytestmark = pytest.mark.anyio

SECRET = "hunter2"


async def everything(here: Site) -> dict[str, Any]:
    """Run jobs that handle a secret, and look at them in every way there is; by the way."""
    value = {"api_key": SECRET, "deep": [{"Authorization": SECRET}], "plain": "seen"}
    await here.jp.submit_job(
        echo, value, job_id="a", group="g", metadata={"password": SECRET, "scene": 1}, token=SECRET
    )
    await here.jp.submit_job(talk, "inking", job_id="b", group="g")
    await here.jp.submit_job(fail, SECRET, job_id="c", group="g", max_retries=0)
    await here.jp.submit_job(add, 1, job_id="d", group="g", depends_on="c")
    await here.jp.drain(timeout=PATIENCE)
    ways: dict[str, Any] = {}
    for path in (
        "jobs/a",
        "jobs",
        "jobs/a/arguments",
        "jobs/a/result",
        "jobs/b/logs",
        "events?once=1",
        "snapshot",
        "groups/g",
        "groups/g/graph",
        "jobs/c",
        "jobs/c/attempts",
        "jobs/c/result",
        "jobs/c/why",
        "jobs/d/why",
        "jobs/d/result",
    ):
        answer = await here.get(f"/v1/{path}")
        assert answer.status_code in (200, 409), path
        ways[path] = answer.json()
    ways["batch"] = (await here.post("/v1/jobs:batch", {"ids": ["a", "c"]})).json()
    for name, params in (("stream", ""), ("plain", "?plain=1")):
        async with streaming(here.http, f"/v1/groups/g/events{params}") as blocks:
            ways[name] = [frame.json() async for frame in blocks if frame.data]
    lines = await here.get("/v1/groups/g/events", headers={"Accept": "application/x-ndjson"})
    ways["lines"] = [json.loads(line) for line in lines.text.splitlines() if line]
    return ways


async def test_what_sounds_secret_is_hidden_unless_switched_off() -> None:
    async with site() as here:
        ways = await everything(here)
        assert ways["jobs/a"]["metadata"] == {"password": "•••", "scene": 1}
        arguments = ways["jobs/a/arguments"]
        assert arguments["args"] == [{"api_key": "•••", "deep": [{"Authorization": "•••"}], "plain": "seen"}]
        assert arguments["kwargs"] == {"token": "•••"}
        assert ways["jobs/a/result"]["result"]["token"] == "•••"
        for way in ("stream", "plain", "lines"):
            outputs = [event["data"] for event in ways[way] if event.get("type") == "output"]
            assert outputs == [{"lines": 1, "password": "•••"}]
            logs = [event["data"]["fields"] for event in ways[way] if event.get("type") == "log"]
            assert logs == [{"password": "•••"}]
        # By default keys decide: what an error says is not changed.
        assert ways["jobs/c"]["error"]["message"] == SECRET


async def test_an_argument_by_position_is_known_by_its_parameter() -> None:
    """A call is stored as it was made, or with its arguments by position: neither has the name of the parameter."""
    async with site() as here:
        await here.jp.submit_job(sign_in, SECRET, "ana", "token", job_id="position", delay=1000)
        await here.jp.submit_job(sign_in, token=SECRET, user="ana", job_id="name", delay=1000)
        await here.jp.submit_job(sign_in, {"deep": "seen"}, "ana", job_id="harmless", delay=1000)
        shown = {i: (await here.get(f"/v1/jobs/{i}/arguments")).json() for i in ("position", "name", "harmless")}
        assert (shown["position"]["args"], shown["position"]["kwargs"]) == (["•••", "ana", "token"], {})
        assert SECRET not in json.dumps(shown["name"])
        assert shown["harmless"]["args"] == ["•••", "ana"]
    async with site(redact=None) as here:
        await here.jp.submit_job(sign_in, SECRET, "ana", job_id="position", delay=1000)
        assert (await here.get("/v1/jobs/position/arguments")).json()["args"] == [SECRET, "ana"]
    async with site(redact=lambda what, value: list(value)) as here:  # names become a list, which is shown instead
        await here.jp.submit_job(sign_in, SECRET, "ana", job_id="position", delay=1000)
        assert (await here.get("/v1/jobs/position/arguments")).json()["args"] == ["token", "user"]


async def test_without_redacting_everything_is_shown() -> None:
    async with site(redact=None) as here:
        ways = await everything(here)
        for way in ("jobs/a", "jobs/a/arguments", "jobs/a/result", "jobs/b/logs", "stream", "lines", "events?once=1"):
            assert SECRET in str(ways[way]), way


async def test_a_rule_of_your_own_sees_every_value_and_what_it_is() -> None:
    seen: set[str] = set()

    def redact(what: str, value: Any) -> Any:
        seen.add(what)
        return json.loads(json.dumps(value).replace(SECRET, "[gone]"))

    async with site(redact=redact) as here:
        ways = await everything(here)
    assert SECRET not in str(ways)
    assert "[gone]" in str(ways["jobs/c"])
    assert "[gone]" in str(ways["jobs/c/result"])
    assert seen == {"arguments", "result", "log", "event", "metadata", "error"}


@pytest.mark.parametrize("instead", ["hidden", None, 7, ["x"]])
async def test_a_rule_may_return_something_else_in_its_place(instead: Any) -> None:
    async with site(redact=lambda what, value: instead) as here:
        ways = await everything(here)
        assert SECRET not in str(ways)
        assert ways["jobs/a"]["metadata"] == {"redacted": instead}
        assert ways["jobs/a/result"]["result"] == instead
        assert ways["jobs/a/arguments"]["kwargs"] == {"redacted": instead}
        assert ways["jobs/c"]["error"]["message"] == str(instead)
        assert {"redacted": instead} in [event["data"] for event in ways["stream"] if event.get("type") == "output"]


def test_the_default_rule() -> None:
    value = {"TOKEN": 1, "my_secret": 2, "passwd": 3, "apikey": 4, "Cookie": 5, "key": 6, 7: [{"credentials": 8}]}
    hidden = dict.fromkeys(("TOKEN", "my_secret", "passwd", "apikey", "Cookie"), "•••")
    assert redact_secrets("result", value) == hidden | {"key": 6, 7: [{"credentials": "•••"}]}
    counts = {"total_tokens": 7, "token_usage": {"prompt_tokens": 3}}
    assert redact_secrets("event", counts) == counts
    assert redact_secrets("event", {"access_tokens": [SECRET]}) == {"access_tokens": "•••"}
    assert redact_secrets("result", [(1, {"password": SECRET})]) == [[1, {"password": "•••"}]]
    assert value["TOKEN"] == 1
