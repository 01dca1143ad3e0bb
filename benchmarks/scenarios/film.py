"""How long the film of the examples takes, and how late the event loop is while pictures, clips and sound are made."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

from benchmarks.result import Figure, Place, Result, lower
from benchmarks.ticker import Ticker


def run(place: Place) -> Result:
    """Seconds from the submission to the whole film, and milliseconds that the loop was late."""
    return asyncio.run(_run(place))


async def _run(place: Place) -> Result:
    from examples.movie.__main__ import SCREENPLAY  # needs the group `film`
    from examples.movie.maker import MovieMaker

    play = json.loads(Path(SCREENPLAY).read_text(encoding="utf-8"))
    play["scenes"] = play["scenes"][: place.pick(6, 2)]
    folder = place.folder / "film"
    folder.mkdir()
    began = time.perf_counter()
    async with Ticker() as ticker:
        state = await MovieMaker(folder / "jobs.db").generate_from_screenplay(play, "film", folder)
    seconds = time.perf_counter() - began
    if not state.get_final_video_path().is_file():
        raise RuntimeError("the film was not made")
    figures: list[Figure] = [lower("film_seconds", seconds, "s"), *ticker.figures("film")]
    return Result(tuple(figures))
