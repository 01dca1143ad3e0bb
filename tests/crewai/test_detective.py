"""A comic whose story a crew writes: the plot, the plan of it, and what the plan has drawn."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asyncjobs import JobProcessor, JobStatus, SQLiteConfig
from asyncjobs.compat import JobStatus as TrackedStatus
from asyncjobs.compat import JobType
from examples.comic import ledger
from examples.comic.constraints import Character, PlotConstraints
from examples.comic.detective import DetectiveMaker
from examples.crew.model import serving
from examples.crew.model_server import Call, Reply, make_app
from examples.crew.replies import role_of

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(120)]
CAST = [Character("Ada Stone", "the detective"), Character("Lord Vane", "the old man"), Character("Rook", "his butler")]
PLOT = PlotConstraints(killer="Rook", victim="Lord Vane")
STORY: dict[str, Any] = {
    "motive": "The silver.",
    "scenes": [
        {
            "title": "The Silver",
            "place": "manor",
            "lead": "Ada_Stone",
            "panels": [
                {"shot": "two_shot", "who": ["Ada_Stone", "Rook"], "dialogue": ["Rook: I have not seen it."]},
                {"shot": "close_up", "who": ["Rook"], "beat": True, "action": "He has."},
            ],
        }
    ],
}


class Author:
    """A model that writes what it is told to, one text after the other, the last one for ever."""

    def __init__(self) -> None:
        self.texts = [json.dumps(STORY)]
        self.asked: list[str] = []

    def reply(self, call: Call) -> Reply:
        role = role_of(call)
        self.asked.append(role)
        if role != "author":
            return Reply(text="Final Answer: It was Rook.", word_every=0.0)
        text = self.texts.pop(0) if len(self.texts) > 1 else self.texts[0]
        return Reply(text=f"Final Answer: {text}", word_every=0.0)


@pytest.fixture
def author(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Author]:
    writing = Author()
    # By default one folder for all versions of CrewAI, and none reads what a newer one has written.
    monkeypatch.setenv("CREWAI_STORAGE_DIR", str(tmp_path / "crewai"))
    with serving(make_app(writing.reply, lambda what, call: None)) as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        yield writing


async def test_a_crew_writes_the_story_and_its_plan_is_drawn(author: Author, tmp_path: Path) -> None:
    maker = DetectiveMaker(tmp_path / "jobs.db")
    state = await maker.generate(PLOT, CAST, "silver", tmp_path)
    kinds = {job.id: job.type for job in state.jobs}
    assert kinds == {
        "plot_silver": JobType.SCREENPLAY,
        "narrative": JobType.SCREENPLAY,
        **{f"char_ref_{name}": JobType.CHARACTER_REF for name in ("Ada_Stone", "Lord_Vane", "Rook")},
        **dict.fromkeys(("panel_Rook_01", "panel_Rook_01_b01"), JobType.IMAGE),
        **dict.fromkeys(("page_00", "page_01", "book"), JobType.POST_PRODUCTION),
    }
    assert {job.status for job in state.jobs} == {TrackedStatus.COMPLETED}
    assert state.images_complete
    assert author.asked == ["plotter", "author"]
    async with JobProcessor(SQLiteConfig(db_path=tmp_path / "jobs.db"), enable_daemon=False) as jp:
        plan = await jp.get_job("silver")
        assert (plan.status, plan.metadata["stage"]) == (JobStatus.COMPLETED, "plan")
        panel = await jp.get_job("silver/panel_Rook_01")
        assert panel.group == "silver"
        assert set(panel.depends_on) == {"silver/narrative", "silver/char_ref_Ada_Stone", "silver/char_ref_Rook"}
        book = await jp.get_result("silver/book")
    assert Path(book["pdf"]).read_bytes().startswith(b"%PDF-")
    plot = json.loads((tmp_path / "silver" / "story" / "plot.json").read_text("utf-8"))
    assert (plot["killer"], plot["victim"], plot["motive"]) == ("Rook", "Lord_Vane", "The silver.")

    starts = ledger.starts(tmp_path / "silver")
    assert (await maker.resume("silver", tmp_path)).jobs == state.jobs
    assert (await maker.generate(PLOT, CAST, "silver", tmp_path)).jobs == state.jobs
    assert ledger.starts(tmp_path / "silver") == starts
    assert author.asked == ["plotter", "author"]


async def test_what_cannot_be_drawn_is_written_again(author: Author, tmp_path: Path) -> None:
    author.texts.insert(0, json.dumps({"scenes": [{**STORY["scenes"][0], "place": "moon"}]}))
    state = await DetectiveMaker(tmp_path / "jobs.db").generate(PLOT, CAST, "silver", tmp_path)
    assert {job.status for job in state.jobs} == {TrackedStatus.COMPLETED}
    assert author.asked == ["plotter", "author", "author"]


@pytest.mark.parametrize(
    ("story", "problem"),
    [
        ({"scenes": [{**STORY["scenes"][0], "place": "moon"}]}, "panel 1: place: 'moon' is not known"),
        ({"scenes": [{**STORY["scenes"][0], "panels": ["x"]}]}, "panel 1: a table is needed, not 'x'"),
        ({"scenes": []}, "$.scenes: a list of 1 to 20 scenes is needed"),
    ],
)
async def test_a_plan_of_what_cannot_be_drawn_fails_with_the_place(
    story: dict[str, Any], problem: str, author: Author, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crew whose guardrail lets it pass, as one of the program's own may."""
    author.texts = [json.dumps(story)]
    monkeypatch.setattr("examples.comic.writers.script_of", lambda text, request: {})
    monkeypatch.setattr("examples.comic.writers.parse_script", lambda data: data)
    state = await DetectiveMaker(tmp_path / "jobs.db").generate(PLOT, CAST, "silver", tmp_path)
    assert [job.id for job in state.jobs] == ["plot_silver"]
    async with JobProcessor(SQLiteConfig(db_path=tmp_path / "jobs.db"), enable_daemon=False) as jp:
        plan = await jp.get_job("silver")
        assert (plan.status, plan.attempt) == (JobStatus.FAILED, 1)
        assert plan.error is not None
        assert problem in plan.error.message


async def test_a_crew_that_never_writes_what_can_be_drawn_fails_the_plot_and_is_asked_again_on_resume(
    author: Author, tmp_path: Path
) -> None:
    author.texts = ["no story at all"]
    maker = DetectiveMaker(tmp_path / "jobs.db")
    state = await maker.generate(PLOT, CAST, "silver", tmp_path)
    [plot] = state.jobs
    assert (plot.id, plot.status) == ("plot_silver", TrackedStatus.FAILED)
    author.texts = [json.dumps(STORY)]
    state = await maker.resume("silver", tmp_path)
    assert {job.status for job in state.jobs} == {TrackedStatus.COMPLETED}
    assert len(state.jobs) == 10


async def test_without_a_crew_it_follows_the_storyboard(author: Author, tmp_path: Path) -> None:
    async with DetectiveMaker(tmp_path / "jobs.db", crew=False) as maker:
        comic = await maker.submit(PLOT, CAST, "board", tmp_path)
        await maker.processor.cancel_jobs(group="board")
    assert {"plot_board", "narrative", "book"} <= set(comic.jobs)
    assert author.asked == []
