"""The model of the example, which stops in the middle of an answer: ``python -m tests.crewai.held_model FOLDER``.

While ``FOLDER/hold-ROLE`` exists, an answer to the agent of this role stops after eight words, until the file is gone.
So a test has all the time it needs in the middle of a text, however fast or slow the machine is.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import anyio
import uvicorn

from examples.crew import replies
from examples.crew.model import Ledger
from examples.crew.model_server import Call, Reply, make_app

HELD_AFTER = 8
"""Words."""
PACE = 0.01
"""Seconds between two words: an answer takes longer than a request to stop it."""


def main(folder: Path) -> None:
    def reply(call: Call) -> Reply:
        answer = replies.reply(call)
        hold = folder / f"hold-{replies.role_of(call)}"

        async def before_word(number: int) -> None:
            while number >= HELD_AFTER and hold.exists():
                await anyio.sleep(0.01)

        answer.word_every, answer.first_after, answer.before_word = PACE, 0.0, before_word
        return answer

    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", flush=True)
        config = uvicorn.Config(make_app(reply, Ledger(folder).note), log_level="critical", access_log=False)
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
