"""A comic is made for the constraints of its plot: its jobs, files and result; what fails is tried again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import anyio
import pytest
from PIL import Image

from asyncjobs import ConfigurationError, Job, JobProcessor, JobStatus, SQLiteConfig
from asyncjobs.compat import JobStatus as TrackedStatus
from asyncjobs.compat import JobTracker, JobType
from examples.comic import ledger
from examples.comic.casting import cast
from examples.comic.constraints import Character, ConstraintsError, PlotConstraints, check
from examples.comic.detective import DetectiveMaker
from examples.comic.layout import lay_out
from examples.comic.maker import MovieError
from examples.comic.script import ScriptError, parse_script, read_script
from examples.comic.storyboard import title_of, write_script
from examples.movie.maker import MovieMaker
from tests.compat.old_files import digest, old_job, old_state, write_old
from tests.examples.movies import LONG, ROOT, card, screenplay

pytestmark = pytest.mark.untraced  # examples, and not the package

SHORT = Path(__file__).with_name("short_story.toml")
CAST = [Character("Sharp", "the detective"), Character("Ida", "the client"), Character("Grim", "the lodger")]
PLOT = PlotConstraints(killer="Grim", victim="Ida")
NAMES = ["Ann", "Ben", "Cleo", "Dan", "Eve", "Fay"]
PEOPLE = [Character(name, "somebody") for name in NAMES]


def make(folder: Path, movie_id: str = "short", **options: Any) -> Any:
    maker = DetectiveMaker(folder / "jobs.db", crew=False)
    return anyio.run(lambda: maker.generate(PLOT, CAST, movie_id, folder, script=SHORT, **options))


def resume(folder: Path, movie_id: str = "short") -> Any:
    return anyio.run(DetectiveMaker(folder / "jobs.db", crew=False).resume, movie_id, folder)


def jobs_of(folder: Path, movie_id: str = "short") -> dict[str, Job]:
    listed = anyio.run(DetectiveMaker(folder / "jobs.db", crew=False).jobs, movie_id)
    return {job.metadata["tracker_id"]: job for job in listed}


@pytest.mark.slow
def test_a_comic_has_the_jobs_of_before_and_is_not_drawn_twice(tmp_path: Path) -> None:
    state = make(tmp_path)
    assert {job.id: job.type for job in state.jobs} == {
        "plot_short": JobType.SCREENPLAY,
        "narrative": JobType.SCREENPLAY,
        **{f"char_ref_{name}": JobType.CHARACTER_REF for name in ("Sharp", "Ida", "Grim")},
        **dict.fromkeys(("panel_Ida_01", "panel_Grim_01", "panel_Sharp_00_b01"), JobType.IMAGE),
        **dict.fromkeys(("page_00", "page_01", "book"), JobType.POST_PRODUCTION),
    }
    assert {job.status for job in state.jobs} == {TrackedStatus.COMPLETED}
    assert all(Path(job.output_path or "").is_file() for job in state.jobs)
    assert (state.screenplay_complete, state.images_complete, state.post_production_complete) == (True, True, True)
    status = anyio.run(DetectiveMaker(tmp_path / "jobs.db").get_status, "short")
    assert status == {"total": 11, "completed": 11, "failed": 0, "pending": 0, "progress": 100.0}

    folder = tmp_path / "short"
    panel = state.get_job("panel_Ida_01")
    assert panel is not None
    assert panel.output_path == str(folder / "images" / "scene_0001.png")
    reference = {name: str(folder / "characters" / f"{name}_reference.png") for name in ("Ida", "Sharp")}
    told = {name: panel.metadata[name] for name in (
        "character_name", "action_index", "beat_index", "character_names", "character_references",
        "character_image_paths", "scene_id", "output_filename", "shot_type", "emotional_tone", "orientation",
    )}  # fmt: skip
    assert told == {
        "character_name": "Ida", "action_index": 1, "beat_index": None, "character_names": ["Ida", "Sharp"],
        "character_references": reference, "character_image_paths": list(reference.values()), "scene_id": "scene_0001",
        "output_filename": "scene_0001.png", "shot_type": "two_shot", "emotional_tone": "calm",
        "orientation": "landscape",
    }  # fmt: skip
    parents = {"short/narrative", "short/char_ref_Ida", "short/char_ref_Sharp"}
    assert set(jobs_of(tmp_path)["panel_Ida_01"].depends_on) == parents
    with Image.open(folder / "contact_sheet.png") as sheet:
        assert sheet.width > 500
    stored = JobTracker(tmp_path / "jobs.db").load_state("short", tmp_path)
    assert stored is not None
    assert stored.screenplay_dict is not None
    assert stored.screenplay_dict["constraints"]["killer"] == "Grim"

    starts = ledger.starts(folder)
    assert set(starts.values()) == {1}
    assert make(tmp_path).jobs == state.jobs
    assert resume(tmp_path).jobs == state.jobs
    assert ledger.starts(folder) == starts


@pytest.mark.slow
def test_a_panel_that_fails_stays_failed_and_is_drawn_on_resume_without_new_references(tmp_path: Path) -> None:
    picture = tmp_path / "short" / "images" / "scene_0002.png"
    picture.mkdir(parents=True)  # nothing can be saved there
    state = make(tmp_path)
    failed = state.get_job("panel_Grim_01")
    assert failed is not None
    assert failed.status is TrackedStatus.FAILED
    assert failed.error
    assert not state.images_complete
    skipped = {job.id for job in state.jobs if job.status is TrackedStatus.SKIPPED}
    assert skipped == {"page_01", "book"}
    before = ledger.starts(tmp_path / "short")
    assert resume(tmp_path).get_job("panel_Grim_01").status is TrackedStatus.FAILED
    picture.rmdir()
    state = resume(tmp_path)
    assert {job.status for job in state.jobs} == {TrackedStatus.COMPLETED}
    assert state.images_complete
    again = ledger.starts(tmp_path / "short") - before
    assert {name.partition("/")[2] for name in again} == {"panel_Grim_01", "page_01", "book"}


@pytest.mark.slow
def test_several_comics_share_a_store_and_one_is_begun_anew(tmp_path: Path) -> None:
    make(tmp_path, "one")
    make(tmp_path, "two")
    with pytest.raises(MovieError, match=r"'one' was asked for otherwise: \$\.title is 'Other' instead of"):
        make(tmp_path, "one", title="Other")
    state = make(tmp_path, "one", title="Other", restart=True)
    assert {job.status for job in state.jobs} == {TrackedStatus.COMPLETED}
    assert set(ledger.starts(tmp_path / "two").values()) == {1}
    with pytest.raises(MovieError, match="are not in"):
        anyio.run(DetectiveMaker(tmp_path / "jobs.db").resume, "one", tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="there is no movie 'three'"):
        anyio.run(DetectiveMaker(tmp_path / "jobs.db").resume, "three", tmp_path)
    with pytest.raises(ValueError, match="there is no movie 'three'"):
        anyio.run(DetectiveMaker(tmp_path / "jobs.db").get_status, "three")


def test_a_database_of_the_old_tracker_is_imported_and_left_as_it_is(tmp_path: Path) -> None:
    old = write_old(tmp_path / "cinema_jobs.db", [old_job("plot_old", "old")], [old_state("old")])
    before = digest(old)

    async def submit() -> dict[str, Any]:
        async with DetectiveMaker(old, crew=False) as maker:
            comic = await maker.submit(PLOT, CAST, "new", tmp_path, script=SHORT)
            await maker.processor.cancel_jobs(group="new")
            assert len(comic.jobs) == 11
            assert JobTracker(old).get_progress("new")["total"] == 11
            return await maker.get_status("old")

    assert anyio.run(submit)["total"] == 1
    assert digest(old) == before


def test_nothing_is_stored_of_what_cannot_be_made(tmp_path: Path) -> None:
    maker = DetectiveMaker(tmp_path / "jobs.db", crew=False)
    with pytest.raises(ConstraintsError, match="witnesses\\[0\\]: Grim is the killer"):
        anyio.run(maker.generate, replace(PLOT, witnesses=["Grim"]), CAST, "short", tmp_path)
    with pytest.raises(ScriptError, match="the script has no 'Nobody'"):
        make_with = [*CAST, Character("Nobody", "nobody")]
        anyio.run(lambda: maker.generate(PLOT, make_with, "short", tmp_path, script=SHORT))
    for movie_id in ("", "..", "a/b", "x" * 101):
        with pytest.raises(MovieError, match="a movie id is"):
            anyio.run(maker.generate, PLOT, CAST, movie_id, tmp_path)
    for images in (0, -1, True, 1.5):
        with pytest.raises(MovieError, match="max_concurrent_images"):
            DetectiveMaker(tmp_path / "jobs.db", max_concurrent_images=images)
    assert not (tmp_path / "jobs.db").exists() or jobs_of(tmp_path) == {}


def test_a_processor_must_be_on_the_same_file_and_its_name_is_needed(tmp_path: Path) -> None:
    async def run() -> None:
        async with JobProcessor(SQLiteConfig(db_path=tmp_path / "mine.db")) as jp:
            with pytest.raises(MovieError, match="db_path: the tracker needs the file of the processor"):
                DetectiveMaker(processor=jp, crew=False)
            maker = DetectiveMaker(tmp_path / "other.db", processor=jp, crew=False)
            with pytest.raises(ConfigurationError, match=r"the processor keeps its jobs in .*mine\.db"):
                await maker.generate(PLOT, CAST, "short", tmp_path, script=SHORT)
            async with maker:
                with pytest.raises(ConfigurationError, match="the processor keeps its jobs in"):
                    await maker.submit(PLOT, CAST, "short", tmp_path, script=SHORT)
            assert list(await jp.find_jobs()) == []

    anyio.run(run)


def test_a_comic_and_a_film_do_not_share_an_id_and_an_imported_movie_is_told_from_none(tmp_path: Path) -> None:
    old = write_old(tmp_path / "cinema_jobs.db", [old_job("plot_old", "old")], [old_state("old")])

    async def run() -> None:
        async with DetectiveMaker(old, crew=False) as maker:
            await maker.submit(PLOT, CAST, "one", tmp_path, script=SHORT)
            await maker.processor.cancel_jobs(group="one")
            with pytest.raises(MovieError, match=r"only the records of a tracker: call generate\(…\) with this id"):
                await maker.resume("old", tmp_path)
            film = MovieMaker(tmp_path / "cinema_jobs.asyncjobs.db", processor=maker.processor)
            with pytest.raises(MovieError, match="'one' is the id of another kind of movie"):
                await film.submit(screenplay(card("S1"), character_description=[]), "one", tmp_path)

    anyio.run(run)


@pytest.mark.slow
def test_restart_leaves_nothing_of_the_comic_before(tmp_path: Path) -> None:
    make(tmp_path, title="First")
    own = tmp_path / "short" / "notes.txt"
    own.write_text("mine")
    (tmp_path / "short" / "images" / "mine.png").mkdir()
    make(tmp_path, title="Second", restart=True)
    assert not [file.name for file in (tmp_path / "short").iterdir() if "first" in file.name]
    assert set(ledger.starts(tmp_path / "short").values()) == {1}
    assert own.read_text() == "mine"


@pytest.mark.parametrize(
    ("constraints", "mistake"),
    [
        (PlotConstraints("Zed", "Ben"), "killer: 'Zed' is not among the characters: Ann, Ben, Cleo, Dan, Eve, Fay"),
        (PlotConstraints("Ann", "Ann"), "victim: Ann is the killer"),
        (PlotConstraints("Ann", "Ben", accomplices=["Ben"]), "accomplices[0]: Ben is the victim"),
        (PlotConstraints("Ann", "Ben", framed_suspect="Ann"), "framed_suspect: Ann is the killer"),
        (PlotConstraints("Ann", "Ben", witnesses=["Cleo", ("Ann", "Ben")]), "witnesses[1]: Ann is the killer"),
        (PlotConstraints("Ann", "Ben", witnesses=[("Cleo",)]), "witnesses[0]: a name or (name, what) is needed"),
        (PlotConstraints("Ann", "Ben", factions={"Reds": ["Zed"]}), "factions.Reds[0]: 'Zed' is not among"),
        (PlotConstraints("Ann", "Ben", winners=["Cleo"], losers=["Cleo"]), "losers[0]: Cleo is among the winners"),
        (PlotConstraints("Ann", "Ben", betrayals=[("Cleo", "Zed")]), "betrayals[0]: 'Zed' is not among"),
        (PlotConstraints("Ann", "Ben", alliances=[("Cleo", "Cleo")]), "alliances[0]: Cleo stands there twice"),
        (PlotConstraints(7, "Ben"), "killer: a name is needed, not 7"),
        (PlotConstraints("Ann", "Ben", [1]), "accomplices[0]: a name is needed, not 1"),
        (PlotConstraints("Ann", "Ben", "Dan"), "accomplices: a list is needed, not 'Dan'"),
        (PlotConstraints("Ann", "Ben", ["Cleo", "Dan", "Eve", "Fay"]), "characters: nobody is left to find out"),
    ],
)  # fmt: skip
def test_a_mystery_that_cannot_be_is_told_with_its_place(constraints: PlotConstraints, mistake: str) -> None:
    with pytest.raises(ConstraintsError) as caught:
        check(constraints, PEOPLE)
    assert mistake in str(caught.value)


@pytest.mark.parametrize(
    ("characters", "mistake"),
    [
        ([], "characters: a list of 2 to 40 Characters is needed, not []"),
        ([{"name": "Ann"}, PEOPLE[1]], "characters[0]: a Character is needed"),
        ([PEOPLE[0], Character("Ann", "again")], "characters[1].name: 'Ann' is the name of characters[0], too"),
        ([PEOPLE[0], Character("A B", "x"), Character("A_B", "y")], "characters[2].name: 'A_B' is the name of"),
        ([PEOPLE[0], Character("../etc", "x")], "characters[1].name: 1 to 60 letters"),
        ([PEOPLE[0], Character("\ud800", "x")], "characters[1].name: 1 to 60 letters"),
        ([PEOPLE[0], Character("Ben", "")], "characters[1].role: a text is needed, not ''"),
        ([PEOPLE[0], Character("Ben", "x", traits="tall")], "characters[1].traits: a list of texts"),
    ],
)  # fmt: skip
def test_a_cast_that_cannot_be_drawn_is_told_with_its_place(characters: Any, mistake: str) -> None:
    with pytest.raises(ConstraintsError) as caught:
        check(PlotConstraints("Ann", "Ben"), characters)
    assert mistake in str(caught.value)


@pytest.mark.parametrize("seed", range(60))
def test_every_mystery_that_can_be_has_a_script_that_can_be_drawn(seed: int) -> None:
    rng = random.Random(seed)
    names = rng.sample([*NAMES, "Lord Vane", "Dr. O'Hara", "Zoë"], rng.randint(4, 9))

    def some(most: int) -> list[str]:
        """All but the killer, the victim, and somebody who finds out."""
        return rng.sample(names[3:], rng.randint(0, min(most, len(names) - 3)))

    pairs = [(one, two) for one in names for two in names if one != two]
    winners = some(2)
    constraints = PlotConstraints(
        names[0],
        names[1],
        accomplices=some(2),
        framed_suspect=rng.choice([None, names[-1]]),
        witnesses=[rng.choice([name, (name, "a lamp, " * 20)]) for name in some(6)],
        factions={"The House": names[2:]} if rng.random() < 0.5 else {},
        winners=winners,
        losers=[name for name in some(3) if name not in winners],
        betrayals=rng.sample(pairs, rng.randint(0, 4)),
        alliances=rng.sample(pairs, rng.randint(0, 8)),
    )
    characters = [Character(name, "somebody") for name in names]
    check(constraints, characters)
    script = parse_script(write_script(constraints, characters, title_of(constraints)))
    assert script == parse_script(write_script(constraints, characters, title_of(constraints)))
    assert len({panel.id for panel in script.panels}) == len(script.panels)
    drawn = {name for panel in script.panels for name in panel.who}
    named = {constraints.killer, constraints.victim, *constraints.accomplices, *(one for one, _ in constraints.seen())}
    assert {name.replace(" ", "_") for name in named} <= drawn | {script.mystery["detective"]}
    for scene in script.scenes:
        assert len(lay_out(scene.panels)) == len(scene.panels) <= 5


def test_what_is_said_of_somebody_is_seen() -> None:
    look = cast(Character("Moll", "a sailor", traits=["old woman", "grey hair", "huge", "wears a bowler"]), 1)
    seen = (look["woman"], look["hair"], look["build"], look["hat"], look["lines"])
    assert seen == (True, "grey", "huge", "bowler", 3)
    assert cast(Character("Rook", "her butler"), 1)["woman"] is False
    assert cast(Character("Moll", "a sailor"), 1) == cast(Character("Moll", "a sailor"), 1)


def test_a_page_takes_nine_panels() -> None:
    data = read_script(SHORT)
    data["scenes"][0]["panels"] *= 4
    with pytest.raises(ScriptError, match="has 12 panels: 9 are the most of a page"):
        parse_script(data)


PROGRAM = """
import sys
from pathlib import Path
import anyio
from examples.comic.detective import DetectiveMaker
from examples.comic.script import read_script
from tests.examples import test_comic_detective as test
folder = Path(sys.argv[1])

async def main():
    async with DetectiveMaker(folder / "jobs.db", crew=False) as maker:
        comic = await maker.submit(test.PLOT, test.CAST, "short", folder, script=test.LONG_STORY)
        async for event in maker.processor.stream_group("short"):
            print(event.type, flush=True)

anyio.run(main)
"""


def _long_story() -> dict[str, Any]:
    """Three pages of nine panels."""
    data = read_script(SHORT)
    data["scenes"][0]["panels"] *= 3
    data["scenes"] *= 3
    return data


LONG_STORY = _long_story()


def start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.slow
def test_two_programs_draw_one_comic_and_three_pictures_at_a_time(tmp_path: Path) -> None:
    both = [start(tmp_path), start(tmp_path)]
    for program in both:
        _, error = program.communicate(timeout=50)
        assert program.returncode == 0, error
    assert set(ledger.starts(tmp_path / "short").values()) == {1}
    drawn = [job for job in jobs_of(tmp_path).values() if job.metadata["stage"] in ("panels", "references")]
    assert len(drawn) == 30
    changes = sorted(
        [(job.started_at, 1) for job in drawn if job.started_at]
        + [(job.finished_at, -1) for job in drawn if job.finished_at]
    )
    assert max(accumulate(change for _, change in changes)) == 3


@pytest.mark.slow
@pytest.mark.first
@pytest.mark.timeout(300)
@pytest.mark.skipif(not LONG, reason="only with ASYNCJOBS_TEST_FILM=long")
def test_the_comic_comes_although_its_program_is_killed_six_times(tmp_path: Path) -> None:
    rng = random.Random(int(os.environ.get("ASYNCJOBS_TEST_SEED", "0")))
    for _ in range(6):
        program = start(tmp_path)
        assert program.stdout is not None
        for _ in range(rng.randint(5, 40)):
            if not program.stdout.readline():
                break
        program.send_signal(signal.SIGKILL)
        program.communicate(timeout=20)
    program = start(tmp_path)
    _, error = program.communicate(timeout=100)
    assert program.returncode == 0, error
    jobs = jobs_of(tmp_path)
    assert {job.status for job in jobs.values()} == {JobStatus.COMPLETED}
    starts = ledger.starts(tmp_path / "short")
    for job in jobs.values():
        assert starts[job.id] <= 1 + job.interruptions, f"{job.id} ran again although nobody was killed under it"
    assert sum(job.interruptions for job in jobs.values()) >= 1
    assert not [file for file in tmp_path.rglob("*") if ".partial" in file.name]

    async def read() -> Any:
        async with JobProcessor(SQLiteConfig(db_path=tmp_path / "jobs.db"), enable_daemon=False) as jp:
            return await jp.get_result("short/book")

    assert Path(anyio.run(read)["pdf"]).read_bytes().startswith(b"%PDF-")
