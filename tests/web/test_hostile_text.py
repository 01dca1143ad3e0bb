"""Text that could break a document or a frame stays text; ten megabytes of it go through, or are cut."""

from __future__ import annotations

import pytest

from tests.web.bodies import add, echo, fail, named, talk
from tests.web.sites import problem, site
from tests.web.support import PATIENCE, streaming, until

pytestmark = pytest.mark.anyio

HOSTILE = "a\r\nb\x00\u2028\u2029</script><!--\x1b[31m\ud7ff\U0001f4a9\x85"


async def test_hostile_text_stays_text(caplog: pytest.LogCaptureFixture) -> None:
    async with site(echo, submit=True) as here:
        await here.jp.submit_job(echo, HOSTILE, job_id="a", metadata={HOSTILE: HOSTILE}, kw=HOSTILE)
        await here.jp.submit_job(fail, HOSTILE, job_id="b", max_retries=0)
        await here.jp.submit_job(talk, HOSTILE, job_id="c")
        await here.jp.drain(timeout=PATIENCE)
        assert (await here.get("/v1/jobs/a")).json()["metadata"] == {HOSTILE: HOSTILE}
        assert (await here.get("/v1/jobs/a/arguments")).json()["kwargs"] == {"kw": HOSTILE}
        assert (await here.get("/v1/jobs/a/result")).json()["result"] == {"value": HOSTILE, "kw": HOSTILE}
        assert HOSTILE[:4] in (await here.get("/v1/jobs/b")).json()["error"]["message"]
        problem(await here.get("/v1/jobs/b/result"), 409, "job-failed")
        for path in ("/v1/jobs/a", "/v1/jobs/b", "/v1/jobs/c/logs", "/v1/events?once=1", "/v1/snapshot"):
            answer = await here.get(path)
            assert answer.headers["content-type"] == "application/json"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.json()
            assert b"\x00" not in answer.content
            assert b"\r" not in answer.content
            assert b"\n" not in answer.content
        async with streaming(here.http, "/v1/jobs/c/events") as blocks:
            seen = await until(blocks, "end")
        assert [frame.event for frame in seen] == ["submitted", "started", "log", "output", "completed", "end"]
        for asked in ({"function": HOSTILE}, {"function": named(echo), "id": HOSTILE}):
            answer = await here.post("/v1/jobs", asked)
            problem(answer, 422 if "id" not in asked else 400, answer.json()["code"])


async def test_ten_megabytes_of_text_go_through_or_are_cut() -> None:
    text = "</script>\u2028" * 700_000
    async with site() as here:
        await here.jp.submit_job(echo, text, job_id="a")
        await here.jp.submit_job(fail, text, job_id="b", max_retries=0)
        await here.jp.submit_job(talk, text[:1000], text, job_id="c")
        await here.jp.submit_job(add, 1, job_id="d", metadata={"text": text})
        await here.jp.drain(timeout=PATIENCE)
        assert (await here.get("/v1/jobs/a/result")).json()["result"] == text
        assert (await here.get("/v1/jobs/a/arguments")).json()["args"] == [text]
        assert (await here.get("/v1/jobs/d")).json()["metadata"] == {"text": text}
        message = (await here.get("/v1/jobs/b")).json()["error"]["message"]
        assert message.startswith("</script>")
        assert len(message) < len(text)
        problem(await here.get("/v1/jobs/b/result"), 409, "job-failed")
        first, second = (await here.get("/v1/jobs/c/logs")).json()["items"]
        assert first["data"]["message"] == text[:1000]
        assert second["data"]["cut"] == len(text)
        async with streaming(here.http, "/v1/jobs/c/events") as blocks:
            await until(blocks, "end")
