"""What is left of a film that is stopped, killed, or made by two programs: no process, no half file, nothing twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

import anyio
import pytest

from asyncjobs import Job, JobStatus
from examples.comic import ledger
from examples.movie.graph import CLIPS
from examples.movie.maker import MovieMaker
from examples.movie.screenplay import read_screenplay
from tests.examples.movies import LONG, ROOT, Ffmpeg, card, decode, screenplay, working_for

pytestmark = [pytest.mark.slow, pytest.mark.untraced]

CARDS = screenplay(card("S1"), card("S2"), character_description=[])
OWN = ROOT / "examples" / "movie" / "screenplay.json"
BOUND = 10.0
"""Seconds: five times what is promised, since the machine may be busy."""


@pytest.fixture
def ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ffmpeg:
    return Ffmpeg(tmp_path, monkeypatch)


class Programs:
    """The terminal program, in processes of its own."""

    def __init__(self, folder: Path, play: Path) -> None:
        self.folder, self.play = folder, play
        self.started: list[subprocess.Popen[str]] = []

    def start(self) -> subprocess.Popen[str]:
        command = [
            sys.executable, "-m", "examples.movie", "--json", "--out", str(self.folder), "--movie-id", "small",
            "--screenplay", str(self.play),
        ]  # fmt: skip
        environment = {**os.environ, "FILM_TEST": str(self.folder)}
        program = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.started.append(program)
        return program

    def finish(self, program: subprocess.Popen[str]) -> str:
        out, error = program.communicate(timeout=200)
        assert program.returncode == 0, error
        return out

    def kill(self, program: subprocess.Popen[str]) -> None:
        program.send_signal(signal.SIGKILL)
        program.communicate(timeout=20)

    def jobs(self) -> dict[str, Job]:
        maker = MovieMaker(db_path=self.folder / "jobs.db")
        return {job.metadata["tracker_id"]: job for job in anyio.run(maker.jobs, "small")}

    def close(self) -> None:
        for program in self.started:
            if program.poll() is None:
                program.kill()
            program.communicate(timeout=20)


def programs_for(folder: Path, play: Path | None = None) -> Programs:
    if play is None:
        play = folder / "play.json"
        play.write_text(json.dumps(CARDS), encoding="utf-8")
    return Programs(folder / "out", play)


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    made = programs_for(tmp_path)
    yield made
    made.close()


def wait_for(file: Path) -> None:
    until = time.monotonic() + 50
    while not file.exists():
        assert time.monotonic() < until, f"{file.name} did not come"
        time.sleep(0.02)


def expect_nobody(folder: Path) -> None:
    """Nothing works for a folder any more, at once or soon."""
    until = time.monotonic() + BOUND
    while left := working_for(folder):
        assert time.monotonic() < until, left
        time.sleep(0.05)


def test_cancelling_a_film_stops_its_ffmpeg_and_resume_makes_it(tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    ffmpeg.breaks("S1", "hangs")
    ffmpeg.breaks("S2_processed", "hangs")

    async def run() -> float:
        async with MovieMaker(db_path=tmp_path / "jobs.db") as maker:
            await maker.submit(CARDS, "small", tmp_path)
            await anyio.to_thread.run_sync(wait_for, ffmpeg.hangs("S1"))
            await anyio.to_thread.run_sync(wait_for, ffmpeg.hangs("S2_processed"))
            assert len(working_for(tmp_path / "small")) >= 2
            began = time.monotonic()
            await maker.processor.cancel_jobs(group="small")
            await maker.processor.drain(group="small")
            assert working_for(tmp_path / "small") == []
            return time.monotonic() - began

    assert anyio.run(run) < BOUND
    ffmpeg.is_mended("S1")
    ffmpeg.is_mended("S2_processed")
    state = anyio.run(MovieMaker(db_path=tmp_path / "jobs.db").resume, "small", tmp_path)
    assert decode(state.get_final_video_path()).frames == 18
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("work", ["S1", "S1_processed", "small_final"])
def test_a_killed_program_takes_its_ffmpeg_along_and_the_next_one_goes_on(
    work: str, tmp_path: Path, ffmpeg: Ffmpeg, programs: Programs
) -> None:
    """One that reads frames, and two that read files: these would not notice that their reader is gone."""
    ffmpeg.breaks(work, "hangs")
    for _ in range(2):
        program = programs.start()
        wait_for(ffmpeg.hangs(work))
        programs.kill(program)
        expect_nobody(tmp_path / "out")
        ffmpeg.hangs(work).unlink()
    ffmpeg.is_mended(work)
    programs.finish(programs.start())
    jobs = programs.jobs()
    assert {job.status for job in jobs.values()} == {JobStatus.COMPLETED}
    starts = ledger.starts(tmp_path / "out" / "small")
    cut_off = {"S1": "video_S1", "S1_processed": "post_S1", "small_final": "film"}[work]
    assert starts.pop(f"small/{cut_off}") == 3
    assert max(starts.values()) <= 3
    assert jobs[cut_off].interruptions == 2
    assert not list((tmp_path / "out").rglob("*.part"))
    assert decode(tmp_path / "out" / "small" / "output" / "small_final.mp4").frames == 18


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_program_that_is_asked_to_end_puts_its_work_back(
    number: signal.Signals, tmp_path: Path, ffmpeg: Ffmpeg, programs: Programs
) -> None:
    """Ctrl-C is for the program and not for its ffmpeg, which would close a file that is not whole."""
    ffmpeg.breaks("S1", "hangs")
    program = programs.start()
    wait_for(ffmpeg.hangs("S1"))
    program.send_signal(number)
    _, error = program.communicate(timeout=30)
    assert "Traceback" not in error
    expect_nobody(tmp_path / "out")
    job = programs.jobs()["video_S1"]
    assert (job.status, job.failures, job.interruptions) == (JobStatus.PENDING, 0, 0)
    ffmpeg.is_mended("S1")
    programs.finish(programs.start())
    assert not list((tmp_path / "out").rglob("*.part"))


def test_a_guard_that_is_killed_takes_its_program_along(tmp_path: Path, ffmpeg: Ffmpeg, programs: Programs) -> None:
    ffmpeg.breaks("S1_processed", "hangs")
    program = programs.start()
    wait_for(ffmpeg.hangs("S1_processed"))
    guard = next(
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and b"guard.py" in (command := read(entry / "cmdline")) and b"S1_processed" in command
        and str(tmp_path).encode() in command
    )  # fmt: skip
    ffmpeg.is_mended("S1_processed")
    os.kill(guard, signal.SIGKILL)
    programs.finish(program)
    expect_nobody(tmp_path / "out")
    assert programs.jobs()["post_S1"].failures == 1


def read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""


def test_two_programs_that_make_one_film_do_nothing_twice_and_no_more_at_a_time_than_they_may(
    tmp_path: Path, programs: Programs
) -> None:
    people = [{"id": number, "physical_appearance": "Somebody.", "style": ""} for number in range(3)]
    scenes = [card(f"S{number}") for number in range(CLIPS[1] + 2)]
    play = screenplay(*scenes, character_description=people)
    programs.play.write_text(json.dumps(play), encoding="utf-8")
    both = [programs.start(), programs.start()]
    for program in both:
        programs.finish(program)
    assert set(ledger.starts(tmp_path / "out" / "small").values()) == {1}
    jobs = programs.jobs()
    assert "film_2" not in jobs
    drawn = [job for job in jobs.values() if job.metadata["stage"] == "characters"]
    assert len(drawn) == 12
    assert most_at_a_time(drawn) == 3
    filmed = [job for job in jobs.values() if job.metadata["stage"] in ("clips", "post")]
    assert len(filmed) == 2 * len(scenes)
    assert most_at_a_time(filmed) <= CLIPS[1], "more than there are cores"


def most_at_a_time(jobs: list[Job]) -> int:
    changes = sorted(
        [(job.started_at, 1) for job in jobs if job.started_at]
        + [(job.finished_at, -1) for job in jobs if job.finished_at]
    )
    return max(accumulate(change for _, change in changes))


def test_two_programs_that_resume_one_film_do_nothing_twice(tmp_path: Path, ffmpeg: Ffmpeg, programs: Programs) -> None:
    ffmpeg.breaks("S1", "dies")
    first = programs.start()
    first.communicate(timeout=50)
    assert first.returncode == 1
    before = ledger.starts(tmp_path / "out" / "small")
    ffmpeg.is_mended("S1")
    both = [programs.start(), programs.start()]
    for program in both:
        programs.finish(program)
    again = ledger.starts(tmp_path / "out" / "small") - before
    assert again == {"small/video_S1": 1, "small/post_S1": 1, "small/film_2": 1}


@pytest.mark.first
@pytest.mark.timeout(580)
@pytest.mark.skipif(not LONG, reason="only with ASYNCJOBS_TEST_FILM=long")
def test_the_whole_film_comes_although_its_program_is_killed_six_times(tmp_path: Path) -> None:
    programs = programs_for(tmp_path, OWN)
    rng = random.Random(int(os.environ.get("ASYNCJOBS_TEST_SEED", "0")))
    cut_off = 0
    for _ in range(6):
        program = programs.start()
        assert program.stdout is not None
        for _ in range(rng.randint(2, 14)):
            if not program.stdout.readline():
                break
        programs.kill(program)
        expect_nobody(tmp_path / "out")
    programs.finish(programs.start())
    jobs = programs.jobs()
    assert {job.status for job in jobs.values()} == {JobStatus.COMPLETED}
    starts = ledger.starts(tmp_path / "out" / "small")
    for job in jobs.values():
        assert starts[job.id] <= 1 + job.interruptions, f"{job.id} ran again although nobody was killed under it"
        cut_off += job.interruptions
    assert cut_off >= 1
    film = decode(tmp_path / "out" / "small" / "output" / "small_final.mp4")
    scenes = read_screenplay(OWN).scenes
    fades = sum(0.5 for scene in scenes[:-1] if scene.transition)
    assert abs(film.seconds - (sum(scene.trim for scene in scenes) - fades)) < 0.2
    assert abs(film.heard - film.seconds) < 0.2
    assert film.loudness > 300
    assert min(film.lights) > 4, "a scene is black"
    assert sum(step == 0 for step in film.steps) < 24, "a scene stands still"
    assert not list((tmp_path / "out").rglob("*.part"))
