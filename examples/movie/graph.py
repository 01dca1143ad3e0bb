"""The graph: screenplay → views of the characters → keyframes → clips → post → one film, submitted all or nothing."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from typing import Any

from asyncjobs import JobHandle, JobProcessor, RetryPolicy
from asyncjobs.compat import JobType, PipelineState

from . import jobs
from .drawing import VIEWS
from .ffmpeg import NoFfmpegError
from .screenplay import CARD, Scene, Screenplay

IMAGES = ("images", 3)
"""At most three pictures are drawn at a time, over all processes."""
CLIPS = ("clips", max(1, os.cpu_count() or 1))
"""At most as many clips are encoded at a time as there are cores."""
STAGES = ("screenplay", "characters", "keyframes", "clips", "post", "film")
RETRY = RetryPolicy(max_retries=2, base=0.2, jitter=0.0, never_on=(ValueError, NoFfmpegError))
INTERRUPTIONS = 10
"""How often a process may die under a job until the job is given up."""


@dataclass
class Movie:
    """What was submitted: the film to wait for, and all jobs by the ids that the old tracker gave them."""

    movie_id: str
    state: PipelineState
    jobs: dict[str, JobHandle[Any]] = field(default_factory=dict[str, JobHandle[Any]])

    @property
    def film(self) -> JobHandle[Any]:
        """The newest of the jobs that cut the film."""
        films = [name for name in self.jobs if name.partition("_")[0] == "film"]
        return self.jobs[max(films, key=lambda name: int(name.partition("_")[2] or 1))]


def job_id_of(movie_id: str, tracker_id: str) -> str:
    """Return the id of a job: the old one, in its movie."""
    return f"{movie_id}/{tracker_id}"


class Graph:
    """Adds the jobs of a movie to a batch."""

    def __init__(self, jp: JobProcessor, batch: Any, screenplay: Screenplay, state: PipelineState) -> None:
        self._optional, self._submit_job = jp.optional, batch.submit_job
        self._screenplay, self._state = screenplay, state
        self.movie = Movie(state.movie_id, state)

    def _add(self, tracker_id: str, stage: str, kind: JobType, func: Any, *args: Any, **options: Any) -> Any:
        metadata = {"tracker_id": tracker_id, "type": kind.value, "stage": stage, **options.pop("metadata", {})}
        metadata = {key: value for key, value in metadata.items() if value is not None}
        handle = self._submit_job(
            func,
            *args,
            self._state.base_dir,
            job_id=job_id_of(self.movie.movie_id, tracker_id),
            group=self.movie.movie_id,
            metadata=metadata,
            retry=RETRY,
            max_interruptions=INTERRUPTIONS,
            if_exists="return",
            **options,
        )
        self.movie.jobs[tracker_id] = handle
        return handle

    def build(self, strict: bool) -> None:
        """Add everything, from the screenplay to the film."""
        play, name = self._screenplay, f"screenplay_{self.movie.movie_id}"
        written = self._add(
            name, "screenplay", JobType.SCREENPLAY, jobs.write_screenplay, play.data, play.warnings,
            metadata={"title": play.title, "output_path": str(self._state.base_dir / "screenplay.json")},
        )  # fmt: skip
        fronts = {character.id: self._character(asdict(character), written) for character in play.characters}
        posts: list[Any] = []
        for number, scene in enumerate(play.scenes, 1):
            keyframes = {
                frame: self._keyframe(scene, number, frame, prompt, fronts, written)
                for frame, prompt in scene.frames.items()
                if scene.method != CARD
            }
            posts.append(self._post(scene, self._clip(scene, number, keyframes, written)))
        self.film(posts if strict else [self._optional(post) for post in posts], 1)

    def film(self, posts: list[Any], version: int) -> Any:
        """Add a job that cuts the film: the first one, or one of a later version over the same scenes.

        :param posts: the finished scenes; those that are optional may be missing in the film.
        """
        scenes = [{"id": scene.id, "transition": scene.transition} for scene in self._screenplay.scenes]
        path = self._state.get_final_video_path()
        return self._add(
            "film" if version == 1 else f"film_{version}", "film", JobType.POST_PRODUCTION,
            jobs.cut_film, scenes, posts, path, version,
            metadata={"title": self._screenplay.title, "version": version, "output_path": str(path)},
        )  # fmt: skip

    def _character(self, character: dict[str, Any], written: Any) -> Any:
        number, name, state = character["id"], character["name"], self._state

        def facts(view: str) -> dict[str, Any]:
            path = state.get_character_image_path(number, view)
            return {"character_id": number, "view": view, "name": name, "output_path": str(path)}

        front = self._add(
            f"char_{number}_front", "characters", JobType.CHARACTER, jobs.draw_front, character,
            self._screenplay.seed, depends_on=[written], limit=IMAGES, metadata=facts("front"),
        )  # fmt: skip
        for view in VIEWS[1:]:
            self._add(
                f"char_{number}_{view}", "characters", JobType.CHARACTER, jobs.draw_other_view, front, view,
                state.get_character_image_path(number, view), limit=IMAGES, metadata=facts(view),
            )  # fmt: skip
        return front

    def _keyframe(
        self, scene: Scene, number: int, frame: str, prompt: str, fronts: dict[int, Any], written: Any
    ) -> Any:
        path = self._state.get_scene_image_path(scene.id, f"{frame}_frame")
        keyframe = {
            "scene": scene.id, "frame": frame, "number": number, "prompt": prompt, "mood": scene.mood,
            "seed": self._screenplay.seed,
        }  # fmt: skip
        return self._add(
            f"img_{scene.id}_{frame}", "keyframes", JobType.IMAGE, jobs.draw_frame, keyframe,
            {str(who): fronts[who] for who in scene.characters}, path, depends_on=[written], limit=IMAGES,
            metadata={
                "scene_id": scene.id, "frame_type": f"{frame}_frame", "prompt": prompt, "scene": number,
                "output_path": str(path),
            },
        )  # fmt: skip

    def _clip(self, scene: Scene, number: int, keyframes: dict[str, Any], written: Any) -> Any:
        play = self._screenplay
        card = {
            "title": scene.title or play.title, "subtitle": play.caption if number == 1 else "", "seed": play.seed,
        }  # fmt: skip
        path = self._state.get_scene_video_path(scene.id)
        return self._add(
            f"video_{scene.id}", "clips", JobType.VIDEO, jobs.film_clip, scene.as_dict(), keyframes, card, path,
            depends_on=[written], limit=CLIPS,
            metadata={
                "scene_id": scene.id, "method": scene.method, "workflow_type": scene.method, "scene": number,
                "duration": scene.duration, "output_path": str(path),
            },
        )  # fmt: skip

    def _post(self, scene: Scene, clip: Any) -> Any:
        play, state = self._screenplay, self._state
        paths = {
            "audio": state.audio_dir / f"{scene.id}.wav",
            "letters": state.videos_dir / f"{scene.id}_letters.png",
            "video": state.videos_dir / f"{scene.id}_processed.mp4",
        }
        options = {"seed": play.seed, "music": play.music, "voices": play.voices}
        return self._add(
            f"post_{scene.id}", "post", JobType.POST_PRODUCTION, jobs.process_clip, scene.as_dict(), clip, options,
            paths, limit=CLIPS,
            metadata={
                "scene_id": scene.id, "has_effects": True, "has_transition": bool(scene.transition),
                "title": scene.title or None, "output_path": str(paths["video"]),
            },
        )  # fmt: skip
