"""The language model of the example: a scripted one in this process, unless OPENAI_BASE_URL says where another is."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import uvicorn

from asyncjobs.integrations.crewai import recommended_env
from examples.crew.model_server import Call, make_app
from examples.crew.replies import reply

LEDGER = "requests.jsonl"


class Ledger:
    """What the scripted model was asked: one line when a request has come, and one when it is answered or left."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / LEDGER

    def note(self, what: str, call: Call) -> None:
        """Append a line, in one write."""
        content = json.dumps([call.messages, call.tools], sort_keys=True)
        digest = sha256(content.encode()).hexdigest()[:12]
        line = json.dumps({"what": what, "story": call.body.get("user"), "request": digest}) + "\n"
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)

    def answered(self, story: str) -> Counter[str]:
        """Return how often each request of a story was answered to its end; equal requests are one."""
        if not self._path.exists():
            return Counter()
        lines = [json.loads(line) for line in self._path.read_text("utf-8").splitlines()]
        mine = [line for line in lines if line["story"] == story]
        return Counter(line["request"] for line in mine if line["what"] == "finished")


@contextmanager
def model(folder: Path) -> Generator[Ledger | None]:
    """Set the process up for CrewAI, which is not imported yet, and run the scripted model if no other is named.

    :param folder: where the ledger is, and what CrewAI writes.
    """
    for name, value in {**recommended_env(), "CREWAI_STORAGE_DIR": str(folder / "crewai")}.items():
        os.environ.setdefault(name, value)
    if os.environ.get("OPENAI_BASE_URL"):
        yield None
        return
    ledger = Ledger(folder)
    with serving(make_app(reply, ledger.note)) as url:
        os.environ["OPENAI_BASE_URL"] = url
        os.environ.setdefault("OPENAI_API_KEY", "none")
        try:
            yield ledger
        finally:
            del os.environ["OPENAI_BASE_URL"]


@contextmanager
def serving(app: Any) -> Generator[str]:
    """Serve an app in a thread, on a free port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, log_level="critical", access_log=False, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="scripted model", daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        finally:
            server.should_exit = True
            thread.join()
