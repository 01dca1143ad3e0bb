"""A server that is told to stop while streams are open: they end with a farewell, and so does the server, soon."""

from __future__ import annotations

import re
import time
from pathlib import Path

import httpx
import pytest

from tests.faults.web_server import PATIENCE, Uvicorn, Watcher

STREAMS = 20
SOON = 2.0
"""Seconds from SIGTERM to the end of the process, as promised; the machine of a test may be busy with others."""


@pytest.mark.parametrize(
    ("app", "path", "options", "workers"),
    [
        ("alone", "/v1/events", [], 1),
        ("alone", "/v1/events", ["--http", "httptools", "--loop", "uvloop"], 1),
        ("mounted", "/jobs/v1/events", [], 1),
        ("alone", "/v1/events", ["--reload"], 1),
        ("mounted", "/jobs/v1/events", ["--workers", "2"], 2),
    ],
    ids=["alone", "alone, httptools and uvloop", "mounted", "alone --reload", "mounted --workers 2"],
)
@pytest.mark.slow
def test_sigterm_with_open_streams(tmp_path: Path, app: str, path: str, options: list[str], workers: int) -> None:
    if "httptools" in options:
        pytest.importorskip("uvloop")
    with Uvicorn(tmp_path, app, *options) as server:
        server.until("Application startup complete.", workers)
        server.until("Uvicorn running")
        watchers = [Watcher(server.port, path) for _ in range(STREAMS)]
        seconds = server.terminate()
        for watcher in watchers:
            assert b'event: bye\ndata: {"reason":"shutdown"' in watcher.end()
        assert server.log().count("Application shutdown complete.") == workers
        assert len(list(tmp_path.glob("stopped-*"))) == (workers if app == "mounted" else 0)
        assert "Traceback" not in server.log()
        assert seconds < SOON + (1.0 if "--workers" in options else 0.0), server.log()


@pytest.mark.slow
def test_clients_that_read_nothing_do_not_hold_the_server(tmp_path: Path) -> None:
    with Uvicorn(tmp_path, "mounted") as server:
        server.until("Uvicorn running")
        deaf = [Watcher(server.port, "/jobs/v1/events", deaf=True) for _ in range(5)]
        reading = Watcher(server.port, "/jobs/v1/events")
        for n in range(4):
            job = {"function": "tests.faults.web_program:chatter", "args": [120], "id": f"chatter-{n}"}
            url = f"http://127.0.0.1:{server.port}/jobs/v1/jobs"
            httpx.post(url, json=job, headers={"X-Asyncjobs": "1"}).raise_for_status()
        deadline = time.monotonic() + PATIENCE
        while reading.data.count(b"event: completed") < 4:  # some 19 MB: more than is kept for anybody
            assert time.monotonic() < deadline
            time.sleep(0.02)
        seconds = server.terminate()
        assert b"event: bye" in reading.end()
        assert "Application shutdown complete." in server.log()
        assert seconds < SOON + 2.0, server.log()  # a second for their last chunk, and one for what was sent before
        for watcher in deaf:
            watcher.close()


@pytest.mark.slow
@pytest.mark.untraced
def test_clients_resume_over_kills_with_the_cursor_that_they_stored(tmp_path: Path) -> None:
    """SIGKILL, and the same file in a new process: everything once, and every job has ended."""
    clients = 5
    seen: list[list[int]] = [[] for _ in range(clients)]
    for life in range(4):
        with Uvicorn(tmp_path, "mounted", rate=100 if life < 3 else 0) as server:
            server.until("Uvicorn running")
            after = [str(mine[-1]) if mine else None for mine in seen]
            watchers = [Watcher(server.port, "/jobs/v1/events", after=cursor) for cursor in after]
            enough = time.monotonic() + PATIENCE
            if life < 3:
                while not all(watcher.data.count(b"\n\n") > 150 for watcher in watchers):
                    assert time.monotonic() < enough
                    time.sleep(0.005)
                server.kill()
            else:
                stats = f"http://127.0.0.1:{server.port}/jobs/v1/stats"
                while unfinished(httpx.get(stats).json()["counts"]):
                    assert time.monotonic() < enough
                    time.sleep(0.1)
                last = int(httpx.get(stats).json()["cursor"])
                # Who was cut off after the very last event has nothing left to see.
                behind = [watcher for watcher, cursor in zip(watchers, after, strict=True) if cursor != str(last)]
                while not all(f"id: {last}\n".encode() in watcher.data for watcher in behind):
                    assert time.monotonic() < enough
                    time.sleep(0.02)
                server.terminate()
            for mine, watcher in zip(seen, watchers, strict=True):
                whole = watcher.end().rpartition(b"\n\n")[0] + b"\n\n"  # the last frame may have been cut
                assert b"event: reset" not in whole
                mine += map(int, re.findall(rb"^id: (\d+)\nevent: (?!bye)", whole, re.MULTILINE))
    assert last > 450
    assert all(mine == list(range(1, last + 1)) for mine in seen)


def unfinished(counts: dict[str, int]) -> int:
    return sum(count for status, count in counts.items() if status != "completed")
