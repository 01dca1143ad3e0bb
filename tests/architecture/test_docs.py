"""What the documentation draws from the code is what the code says."""

from __future__ import annotations

import re
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from asyncjobs import JobProcessor, JobStatus, MemoryBackend, RetryPolicy, SQLiteBackend, SQSBackend
from asyncjobs.core.lifecycle import TRANSITIONS
from asyncjobs.models import EventType

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "explanation" / "life-cycle.md"
PICTURE = PAGE.with_suffix(".svg")
FLOWS = ROOT / "docs" / "explanation" / "architecture.md"
STORES = (MemoryBackend, SQLiteBackend, SQSBackend)


@pytest.fixture
def generate(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))  # as for a script that is run
    return runpy.run_path(str(ROOT / "docs" / "generate.py"))


@pytest.mark.parametrize("page", [PAGE, FLOWS], ids=["life-cycle", "architecture"])
def test_the_page_is_what_the_generator_writes(generate: dict[str, Any], page: Path) -> None:
    assert generate["written"](page) == page.read_text(), "run: python docs/generate.py"


def test_every_page_with_a_drawing_is_compared(generate: dict[str, Any]) -> None:
    assert set(generate["DRAWINGS"]) == {PAGE, FLOWS}


def drawn_transitions() -> dict[tuple[JobStatus | None, EventType], JobStatus]:
    """Read back from the picture, not from the generator."""
    drawn: dict[tuple[JobStatus | None, EventType], JobStatus] = {}
    for before, after, events in re.findall(
        r'<path class="arrow" data-from="(\w*)" data-to="(\w+)" data-events="([\w ]+)"', PICTURE.read_text()
    ):
        for event in events.split():
            drawn[JobStatus(before) if before else None, EventType(event)] = JobStatus(after)
    return drawn


def test_the_picture_is_the_table_of_transitions() -> None:
    assert drawn_transitions() == TRANSITIONS
    words = re.findall(r'<text class="(?:status|event)"[^>]*>(\w+)</text>', PICTURE.read_text())
    assert set(words) == set(JobStatus) | {event for _, event in TRANSITIONS}


def test_the_pictures_are_what_the_generator_draws(generate: dict[str, Any]) -> None:
    for path, draw in (generate["PAGES"] | generate["PICTURES"]).items():
        assert draw() == path.read_text("utf-8"), "run: python docs/generate.py"


def test_every_new_arrow_would_change_the_page(generate: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TRANSITIONS, (JobStatus.IN_PROGRESS, EventType.ASKED), JobStatus.PENDING)
    assert generate["written"](PAGE) != PAGE.read_text()
    assert generate["state_diagram"]() != PICTURE.read_text()


def test_every_test_that_asks_for_a_capability_is_in_the_table_of_those_left_out() -> None:
    """Read back from the files by their text, not by the generator."""
    marked = re.compile(r"^@pytest\.mark\.needs\((.*)\)\n(?:@.*\n)*(?:async )?def (\w+)", re.MULTILINE)
    asked: set[tuple[str, str]] = set()
    for path in (ROOT / "tests" / "conformance").glob("*.py"):
        text = path.read_text()
        found = marked.findall(text)
        assert len(found) == text.count("mark.needs("), f"{path.name}: a mark that the table does not know"
        asked |= {(name, f"{path.stem}::{test}") for names, test in found for name in re.findall(r'"(\w+)"', names)}
    rows = re.findall(r"^\| `(\w+)` \| [^|]* \| (`test_.*|none) \|$", FLOWS.read_text(), re.MULTILINE)
    assert {(name, test) for name, tests in rows for test in re.findall(r"`([\w:]+)`", tests)} == asked
    assert {name for name, _ in rows} == {name for store in STORES for name in store.capabilities}


def test_the_table_of_capabilities_is_what_the_stores_say() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (yes)? ?\| (yes)? ?\| (yes)? ?\| ", FLOWS.read_text(), re.MULTILINE)
    assert {name: [bool(yes) for yes in has] for name, *has in rows} == {
        name: [name in store.capabilities for store in STORES] for store in STORES for name in store.capabilities
    }


def flows() -> dict[str, list[str]]:
    """The modules of each flow that is drawn, in their order."""
    _, *parts = FLOWS.read_text().split("<!-- flow: ")
    return {part.partition(" -->")[0]: re.findall(r"^\| `([\w/]+\.py)` \|", part, re.MULTILINE) for part in parts}


@pytest.mark.parametrize("flow", ["a submit", "an outcome", "an event"])
def test_a_flow_passes_modules_that_exist_and_none_of_them_twice(flow: str) -> None:
    modules = flows()[flow]
    assert len(modules) > 5
    assert len(set(modules)) == len(modules)
    assert [module for module in modules if not (ROOT / "asyncjobs" / module).exists()] == []


def programs(page: str) -> list[str]:
    """The Python programs of a page, in their order."""
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def run(folder: Path, program: str) -> str:
    (folder / "program.py").write_text(program)
    ran = subprocess.run([sys.executable, "program.py"], cwd=folder, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_the_program_of_the_readme_runs_and_prints_its_comment(tmp_path: Path) -> None:
    [program] = programs("README.md")
    [comment] = re.findall(r"print\(await page\)  # (.*)", program)
    *events, last = run(tmp_path, program).splitlines()
    assert last == comment
    assert [event.partition(" ")[0] for event in events] == ["submitted", "started", "completed"]


def test_the_program_of_the_guide_of_the_tracker_runs_and_runs_again(tmp_path: Path) -> None:
    [program] = programs("docs/guides/tracker.md")
    printed = re.findall(r"```text\n(.*?)```", (ROOT / "docs/guides/tracker.md").read_text(), re.DOTALL)[-1]
    assert run(tmp_path, program) == printed
    drawn = (tmp_path / "panel_2.txt").stat().st_mtime_ns
    assert run(tmp_path, program) == printed
    assert (tmp_path / "panel_2.txt").stat().st_mtime_ns == drawn, "what is completed stays"


def test_the_program_of_the_guide_of_steps_is_killed_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    book, _ = programs("docs/guides/steps.md")
    printed = re.findall(r"```text\n(.*?)```", (ROOT / "docs/guides/steps.md").read_text(), re.DOTALL)
    (tmp_path / "book.py").write_text(book)
    for code, expected in zip((-signal.SIGKILL, 0), printed, strict=True):
        ran = subprocess.run([sys.executable, "book.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert (ran.returncode, ran.stdout) == (code, expected), ran.stderr


@pytest.mark.anyio
async def test_the_idempotency_key_of_the_guide_is_the_same_in_each_attempt() -> None:
    _, charging = programs("docs/guides/steps.md")
    names: dict[str, Any] = {}
    exec(charging, names)
    keys: list[str] = []

    class Payments:
        def charge(self, cents: int, idempotency_key: str) -> str:
            keys.append(idempotency_key)
            if len(keys) == 1:
                raise ConnectionError("the answer was lost")
            return f"{cents} cents"

    async def body() -> str:
        return await names["order"](Payments(), 7)

    async with JobProcessor(MemoryBackend()) as jp:
        job = await jp.submit_job(body, local=True, job_id="o1", retry=RetryPolicy(base=0.001))
        assert await job == "7 cents"
    assert keys == ["o1/charge"] * 2


def test_the_graph_of_the_guide_of_questions_prints_its_page(tmp_path: Path) -> None:
    graph, *_ = programs("docs/guides/asking.md")
    assert run(tmp_path, graph) == "page 1 is printed\n"


@pytest.mark.anyio
async def test_the_book_of_the_guide_of_questions_is_asked_about_and_written() -> None:
    _, writing, listing, _ = programs("docs/guides/asking.md")
    names: dict[str, Any] = {}
    exec(writing, names)
    exec(listing, names)
    async with JobProcessor(MemoryBackend()) as jp:
        book = await jp.submit_job(names["write_book"], "fog", local=True, job_id="b")
        await _asked(jp, "b", "b/style")
        [line] = await names["list_open_questions"](jp)
        assert line.startswith("b/style: In which style? The plot of fog. (until 20")
        await jp.answer_job("b/style", "manga")
        await _asked(jp, "b", "b/publish")
        await jp.answer_job("b/publish")
        assert await book == "The plot of fog. Drawn as manga."


async def _asked(jp: JobProcessor, job_id: str, gate_id: str) -> None:
    async for event in jp.stream_job(job_id):
        if event.type == "asked" and event.data["gate"] == gate_id:
            return


@pytest.mark.anyio
async def test_the_route_of_the_guide_lets_only_the_editor_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from httpx import ASGITransport, AsyncClient

    monkeypatch.chdir(tmp_path)
    *_, route = programs("docs/guides/asking.md")
    names: dict[str, Any] = {"__name__": "guide"}
    exec(route, names)
    jp: JobProcessor = names["jp"]
    async with jp, AsyncClient(transport=ASGITransport(names["app"]), base_url="http://test") as client:
        await jp.submit_gate("print?", job_id="mine/q", metadata={"editor": "ana"})
        await jp.submit_gate("which?", choices=["noir", "manga"], job_id="mine/style", metadata={"editor": "ana"})
        await jp.submit_gate("print?", job_id="other", metadata={"editor": "bo"})
        codes = [(await client.post(f"/gates/{gate}")).status_code for gate in ("other", "unknown", "mine/q")]
        assert codes == [404, 404, 200]
        refused = await client.post("/gates/mine/q?reason=no")
        assert refused.status_code == 409
        assert "answered by 'ana'" in refused.json()["detail"]
        assert (await client.post("/gates/mine/style", json=True)).status_code == 422
        assert (await client.post("/gates/mine/style", json="manga")).json() == "completed"
        assert (await client.get("/books/nothing/events")).status_code == 404
        assert "EventSource" in (await client.get("/books/b")).text
