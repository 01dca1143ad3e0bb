"""A film is made of a screenplay: its jobs, files and result; what fails is left out, said, and tried again."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncjobs import Job, JobProcessor, JobQuery, JobStatus, SQLiteConfig
from asyncjobs.compat import JobStatus as TrackedStatus
from asyncjobs.compat import JobTracker, JobType, PipelineState
from examples.comic import ledger
from examples.comic.differences import name_differences
from examples.comic.maker import MovieError
from examples.movie import sound
from examples.movie.ffmpeg import NoFfmpegError
from examples.movie.graph import IMAGES
from examples.movie.maker import MovieMaker
from examples.movie.mistakes import ScreenplayError
from tests.compat.old_files import digest, old_job, old_state, write_old
from tests.examples.movies import Ffmpeg, card, decode, picture_at, screenplay

pytestmark = [pytest.mark.slow, pytest.mark.untraced]

CARDS = screenplay(card("S1"), card("S2"), character_description=[])


@pytest.fixture
def ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ffmpeg:
    return Ffmpeg(tmp_path, monkeypatch)


class Studio:
    """A store and a folder of films."""

    def __init__(self, folder: Path) -> None:
        self.db, self.folder = folder / "jobs.db", folder

    def maker(self, *, strict: bool = False) -> MovieMaker:
        return MovieMaker(db_path=self.db, strict=strict)

    def make(self, play: Any, movie_id: str = "small", *, strict: bool = False, restart: bool = False) -> PipelineState:
        maker = self.maker(strict=strict)
        return anyio.run(lambda: maker.generate_from_screenplay(play, movie_id, self.folder, restart=restart))

    def resume(self, movie_id: str = "small", *, strict: bool = False) -> PipelineState:
        return anyio.run(self.maker(strict=strict).resume, movie_id, self.folder)

    def status(self, movie_id: str = "small") -> dict[str, Any]:
        return anyio.run(self.maker().get_status, movie_id)

    def jobs(self, movie_id: str = "small") -> dict[str, Job]:
        """Return the jobs by their old ids."""
        listed = anyio.run(self.maker().jobs, movie_id)
        return {job.metadata["tracker_id"]: job for job in listed}

    def film(self, name: str = "film", movie_id: str = "small") -> dict[str, Any]:
        """Return the result of a job that cuts the film."""

        async def read() -> Any:
            async with JobProcessor(SQLiteConfig(db_path=self.db), enable_daemon=False) as jp:
                return await jp.get_result(f"{movie_id}/{name}")

        return anyio.run(read)

    def starts(self, movie_id: str = "small") -> dict[str, int]:
        return dict(ledger.starts(self.folder / movie_id))


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path)


def test_a_film_has_the_jobs_of_before_plays_and_is_not_made_twice(
    studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sound, "find_speaker", lambda: None)
    play = screenplay()
    state = studio.make(play)
    kinds = {job.id: job.type for job in state.jobs}
    assert kinds == {
        "screenplay_small": JobType.SCREENPLAY,
        **{f"char_0_{view}": JobType.CHARACTER for view in ("front", "side", "full_body", "back")},
        **{f"img_{name}_first": JobType.IMAGE for name in ("S1", "S2")},
        **{f"video_{name}": JobType.VIDEO for name in ("S1", "S2")},
        **{f"post_{name}": JobType.POST_PRODUCTION for name in ("S1", "S2")},
        "film": JobType.POST_PRODUCTION,
    }
    assert {job.status for job in state.jobs} == {TrackedStatus.COMPLETED}
    assert all(Path(job.output_path or "").is_file() for job in state.jobs)
    assert (state.images_complete, state.videos_complete, state.post_production_complete) == (True, True, True)
    assert studio.status() == {"total": 12, "completed": 12, "failed": 0, "pending": 0, "progress": 100.0}

    job = state.get_job("img_S1_first")
    assert job is not None
    assert (job.scene_id, job.metadata["frame_type"]) == ("S1", "first_frame")
    assert job.output_path == str(state.get_scene_image_path("S1", "first_frame"))
    assert state.get_character_image_path(0).is_file()
    stored = JobTracker(studio.db).load_state("small", studio.folder)
    assert stored is not None
    assert stored.screenplay_dict == play
    assert not stored.has_screenplay_changed(play)

    film = decode(state.get_final_video_path())
    assert film.frames == 24 + 24 - 12
    assert abs(film.heard - film.seconds) < 0.2
    assert film.loudness > 300
    assert min(film.lights) > 8
    assert min(film.steps) > 0
    title = picture_at(state.get_final_video_path(), 0.4).crop((10, 160, 220, 220))
    assert sum(light > 220 for light in title.convert("L").tobytes()) > 60, "no title is seen"

    starts = studio.starts()
    assert set(starts.values()) == {1}
    assert studio.make(play).jobs == state.jobs
    assert studio.resume().jobs == state.jobs
    assert studio.starts() == starts
    assert not list(studio.folder.rglob("*.part"))


def test_a_line_is_spoken_where_something_can_speak_and_else_a_caption(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    play = screenplay(
        card("S1", duration=1.5, voiceover_text="Here I am.", voiceover_character="Tom"),
        video_config={"seed": 1, "needs_background_music": False},
        character_description=[],
    )

    def caption(movie_id: str) -> int:
        film = studio.folder / movie_id / "output" / f"{movie_id}_final.mp4"
        bottom = picture_at(film, 0.8).convert("L").crop((170, 214, 256, 234))
        return sum(light > 140 for light in bottom.tobytes())

    if sound.find_speaker() is not None:
        studio.make(play, "spoken")
        assert caption("spoken") < 10
        assert decode(studio.folder / "spoken" / "output" / "spoken_final.mp4").loudness > 300
    monkeypatch.setattr(sound, "find_speaker", lambda: None)
    studio.make(play, "silent")
    assert caption("silent") > 50
    assert decode(studio.folder / "silent" / "output" / "silent_final.mp4").loudness < 5


def test_a_clip_that_fails_is_left_out_and_said_and_resume_makes_the_whole_film(studio: Studio, ffmpeg: Ffmpeg) -> None:
    ffmpeg.breaks("S1", "dies")
    state = studio.make(CARDS)
    jobs = studio.jobs()
    assert jobs["video_S1"].status is JobStatus.FAILED
    assert jobs["video_S1"].error is not None
    assert "the encoder died of S1" in jobs["video_S1"].error.message
    assert (jobs["post_S1"].status, jobs["post_S1"].because) == (JobStatus.SKIPPED, "small/video_S1")
    film = studio.film()
    assert (film["missing"], film["scenes"], film["version"]) == (["S1"], ["S2"], 1)
    assert decode(state.get_final_video_path()).frames == 12
    assert not state.videos_complete
    assert studio.status()["failed"] == 1

    ffmpeg.is_mended("S1")
    state = studio.resume()
    film = studio.film("film_2")
    assert (film["missing"], film["scenes"], film["version"]) == ([], ["S1", "S2"], 2)
    assert decode(state.get_final_video_path()).frames == 12 + 12 - 6
    starts = studio.starts()
    assert starts.pop("small/video_S1") == 4  # three times in vain
    assert set(starts.values()) == {1}
    assert studio.resume().jobs == state.jobs
    assert "film_3" not in studio.jobs()


def test_strict_is_all_or_nothing(studio: Studio, ffmpeg: Ffmpeg) -> None:
    ffmpeg.breaks("S2", "dies")
    state = studio.make(CARDS, strict=True)
    film = studio.jobs()["film"]
    assert (film.status, film.because) == (JobStatus.SKIPPED, "small/video_S2")
    assert not state.get_final_video_path().exists()
    ffmpeg.is_mended("S2")
    assert studio.resume(strict=True).get_final_video_path().is_file()
    assert studio.film()["missing"] == []


def test_of_no_scene_at_all_there_is_no_film(studio: Studio, ffmpeg: Ffmpeg) -> None:
    for name in ("S1", "S2"):
        ffmpeg.breaks(name, "dies")
    studio.make(CARDS)
    film = studio.jobs()["film"]
    assert film.status is JobStatus.FAILED
    assert film.error is not None
    assert "none of the scenes could be filmed" in film.error.message
    for name in ("S1", "S2"):
        ffmpeg.is_mended(name)
    state = studio.resume()
    assert studio.film("film_2")["scenes"] == ["S1", "S2"]
    assert state.post_production_complete


@pytest.mark.parametrize(
    ("fault", "said"),
    [("nothing", "nothing was written"), ("full", "File too large"), ("killed", "exit code 137")],
)
def test_an_ffmpeg_that_writes_nothing_fills_the_disk_or_is_killed_fails_its_clip(
    fault: str, said: str, studio: Studio, ffmpeg: Ffmpeg
) -> None:
    ffmpeg.breaks("S1", fault)
    studio.make(CARDS)
    job = studio.jobs()["video_S1"]
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert said in job.error.message
    assert studio.film()["missing"] == ["S1"]
    assert not list(studio.folder.rglob("*.part"))
    assert not (studio.folder / "small" / "videos" / "S1.mp4").exists()


@pytest.mark.parametrize("damage", [b"", b"no picture at all", None])
def test_a_keyframe_that_is_no_picture_any_more_is_drawn_again(
    damage: bytes | None, studio: Studio, ffmpeg: Ffmpeg
) -> None:
    ffmpeg.breaks("S1", "dies")
    play = screenplay(card("S1", keyframe_description={"first_frame_prompt": "A lane"}), character_description=[])
    state = studio.make(play)
    keyframe = state.get_scene_image_path("S1", "first_frame")
    drawn = keyframe.read_bytes()
    keyframe.unlink() if damage is None else keyframe.write_bytes(damage)
    ffmpeg.is_mended("S1")
    studio.resume()
    assert keyframe.read_bytes() == drawn
    assert studio.film("film_2")["missing"] == []


def test_a_film_whose_file_was_removed_is_cut_again(studio: Studio) -> None:
    state = studio.make(CARDS)
    state.get_final_video_path().unlink()
    studio.resume()
    assert state.get_final_video_path().is_file()
    assert studio.film("film_2")["version"] == 2


def test_another_screenplay_under_the_same_id_is_refused_unless_it_is_to_begin_anew(studio: Studio) -> None:
    studio.make(CARDS)
    other = copy.deepcopy(CARDS)
    other["scenes"][0]["title"] = "Another"
    with pytest.raises(MovieError, match=r"\$\.scenes\[0\]\.title is 'Another' instead of 'S1'.*restart=True"):
        studio.make(other)
    jobs = studio.jobs()
    studio.make(other, restart=True)
    assert studio.jobs().keys() == jobs.keys()
    assert studio.film()["version"] == 1
    assert studio.starts()["small/film"] == 1, "nothing is left of before"


def test_a_database_of_the_old_tracker_is_gone_on_with_beside_itself(studio: Studio) -> None:
    old = write_old(studio.folder / "cinema_jobs.db", [old_job("char_1_front", "before")], [old_state("before")])
    before = digest(old)
    studio.db = old
    state = studio.make(CARDS)
    assert state.get_final_video_path().is_file()
    assert studio.status("before")["completed"] == 1
    assert studio.status()["completed"] == 6
    assert digest(old) == before


def test_differences_are_named_by_their_paths() -> None:
    old = {"a": [1, {"b": 2}], "c": 1, "t": True}
    new = {"a": [1, {"b": 3}, 4], "d": 1, "t": 1}
    assert name_differences(old, new) == [
        "$.a has 3 entries instead of 2",
        "$.a[1].b is 3 instead of 2",
        "$.c is gone",
        "$.t is 1 instead of True",
        "$.d is new",
    ]
    assert name_differences(old, copy.deepcopy(old)) == []
    assert name_differences(list(range(9)), list(range(1, 10)))[-1] == "and more"


def test_a_movie_whose_files_are_elsewhere_is_refused(studio: Studio, tmp_path: Path) -> None:
    studio.make(CARDS)
    with pytest.raises(MovieError, match="are not in"):
        anyio.run(studio.maker().resume, "small", tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere").exists()


def test_without_ffmpeg_nothing_is_submitted(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setenv("PATH", str(studio.folder))
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(NoFfmpegError, match="pip install imageio-ffmpeg"):
        studio.make(CARDS)
    with pytest.raises(MovieError, match="there is no movie"):
        studio.status()


@pytest.mark.parametrize("movie_id", ["", ".", "..", "a/b", "a b", "x" * 101, "é"])
def test_a_movie_id_that_could_be_another_path_is_refused(movie_id: str, studio: Studio) -> None:
    for call in (
        lambda: studio.make(CARDS, movie_id),
        lambda: studio.resume(movie_id),
        lambda: studio.status(movie_id),
    ):
        with pytest.raises(ValueError, match="a movie id is"):
            call()


def test_an_unknown_movie_is_a_value_error(studio: Studio) -> None:
    for call in (lambda: studio.resume("none"), lambda: studio.status("none")):
        with pytest.raises(ValueError, match="there is no movie 'none'"):
            call()


def test_prose_is_refused_and_nothing_is_stored(studio: Studio) -> None:
    with pytest.raises(ScreenplayError, match="no JSON"):
        anyio.run(studio.maker().generate, "A man walks down a lane.", "small", studio.folder)
    with pytest.raises(ValueError, match="there is no movie"):
        studio.status()


def test_handles_are_returned_at_once_and_a_movie_gets_an_id(studio: Studio) -> None:
    async def run() -> tuple[str, dict[str, Any]]:
        async with studio.maker() as maker:
            movie = await maker.submit(CARDS, base_dir=studio.folder)
            assert movie.jobs.keys() >= {"video_S1", "film"}
            return movie.movie_id, await movie.film

    movie_id, film = anyio.run(run)
    assert len(movie_id) == 8
    assert film["scenes"] == ["S1", "S2"]


def test_several_movies_live_in_one_store_and_three_pictures_at_most_are_drawn_at_a_time(studio: Studio) -> None:
    people = [{"id": number, "physical_appearance": "Somebody.", "style": ""} for number in range(2)]
    play = screenplay(card("S1"), character_description=people)

    async def run() -> list[tuple[Any, int]]:
        config = SQLiteConfig(db_path=studio.db)
        async with JobProcessor(config) as one, JobProcessor(config) as two:
            for jp, name in ((one, "a"), (two, "b")):
                await MovieMaker(studio.db, processor=jp).submit(play, name, studio.folder)
            changes: list[tuple[Any, int]] = []
            for name in ("a", "b"):
                await one.drain(group=name)
                async for job in one.iter_jobs(JobQuery(group=name)):
                    if job.metadata["stage"] == "characters":
                        assert job.limit == IMAGES[0]
                        changes += [(job.started_at, 1), (job.finished_at, -1)]
            return changes

    changes = sorted(anyio.run(run))
    running, most = 0, 0
    for _, change in changes:
        running += change
        most = max(most, running)
    assert len(changes) == 2 * 16
    assert most == 3
