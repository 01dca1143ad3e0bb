"""`python -m examples.crew` (`make demo-crew`): a mystery is written and drawn in this terminal; PORT=…: on a page."""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path

import anyio
import click

from asyncjobs import JobEvent, JobProcessor, JobStateError, JobStatus, SQLiteConfig
from examples.crew.model import Ledger, model
from examples.crew.pipeline import DAEMON, submit
from examples.crew.teller import Teller

TITLE = "The Last Cup"


class Reader:
    """Somebody at the terminal, who is asked once.

    :param store: where the jobs are.
    :param answer: what is answered without asking; by default somebody is asked, if there is a terminal.
    """

    def __init__(self, jp: JobProcessor, store: Path, teller: Teller, answer: str | None) -> None:
        self._jp = jp
        self._store = os.path.relpath(store)
        self._teller = teller
        self._answer = answer
        self._asking = anyio.CancelScope()

    async def ask(self, event: JobEvent) -> None:
        """Ask, unless the question is answered already; it may be answered elsewhere meanwhile."""
        gate, choices = event.data["gate"], event.data["choices"]
        if (await self._jp.get_job(gate)).status.terminal:
            return
        self._teller.say(event.data["question"])
        self._teller.say(f"or, from elsewhere: asyncjobs --db {self._store} jobs answer {gate} {choices[0]}")
        with anyio.CancelScope() as self._asking:
            answer = self._answer or (await _read_choice(choices) if sys.stdin.isatty() else choices[0])
            try:
                await self._jp.answer_job(gate, answer, by="terminal")
            except JobStateError as error:
                self._teller.say(str(error))

    def end(self, event: JobEvent) -> None:
        """Stop asking: it is answered."""
        self._asking.cancel()
        self._teller.say(f"answered by {event.data['by'] or 'somebody'}")


async def _read_choice(choices: list[str]) -> str:
    """Wait for a line that begins a choice, and can be cancelled, which input() cannot."""
    while True:
        print(f"  {' or '.join(choices)}? ", end="", flush=True)
        await anyio.wait_readable(sys.stdin)
        line = sys.stdin.readline()
        if not line:
            return choices[0]
        fitting = [choice for choice in choices if line.strip() and choice.startswith(line.strip().lower())]
        if len(fitting) == 1:
            return fitting[0]


async def write(
    title: str, story: str, out: Path, ledger: Ledger | None, answer: str | None, crash_at: str | None
) -> int:
    """Submit the story, follow it to its end, and return the exit code."""
    teller, store = Teller(), out / "jobs.db"
    async with JobProcessor(SQLiteConfig(db_path=store), daemon=DAEMON) as jp:
        book = await submit(jp, title, story, out / story)
        reader = Reader(jp, store, teller, answer)
        async with anyio.create_task_group() as tasks:
            async for event in jp.stream_group(story):
                teller.take(event)
                if event.type == "asked" and "gate" in event.data:
                    tasks.start_soon(reader.ask, event)
                elif event.type == "answered":
                    reader.end(event)
                if crash_at in teller.roles:
                    os.kill(os.getpid(), signal.SIGKILL)
            tasks.cancel_scope.cancel()
        teller.say("what it has cost:")
        print("\n".join(teller.usage.lines()))
        if ledger is not None:
            answered = ledger.answered(story)
            again = answered.total() - len(answered)
            print(f"  The model has answered the agents {answered.total()} times, {again} of them again.")
        job = await jp.get_job(book)
        if job.status is not JobStatus.COMPLETED:
            teller.say(f"the book is {job.status}: run this again with another --story, or 'asyncjobs jobs retry'")
            return 1
        made = await book
        print(f"  PDF   {os.path.relpath(made['pdf'])}\n  CBZ   {os.path.relpath(made['cbz'])}")
    return 0


def serve(out: Path) -> None:
    """Serve the page until Ctrl-C; what was not finished by then goes on after the next start."""
    import uvicorn

    from examples.web_app.__main__ import listen

    os.environ["CREW_OUT"] = str(out)
    with listen() as listener, model(out):
        from examples.crew.app import app

        host, port = listener.getsockname()
        print(f"The crew is at http://{host}:{port}/ and its files are in {out} (Ctrl-C ends it)", flush=True)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
        try:
            server.run(sockets=[listener])
        except KeyboardInterrupt:
            pass


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("comic-output/crew"),
    show_default=True,
    help="Folder for the stories, the database and what CrewAI writes.",
)
@click.option("--title", default=TITLE, show_default=True)
@click.option("--story", default="mystery", show_default=True, help="The same name goes on where it stopped.")
@click.option("--answer", type=click.Choice(["yes", "no"]), help="Answer the question so, without asking.")
@click.option("--crash-at", metavar="ROLE", help="Kill this process (SIGKILL) once this agent writes.")
def main(out: Path, title: str, story: str, answer: str | None, crash_at: str | None) -> None:
    """Have a crew write a mystery, a flow revise it, and the comic's jobs draw it; with PORT=… on a page."""
    out = out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    # CrewAI and the engine log into a file, not between the texts.
    logging.basicConfig(filename=out / "engine.log", format="%(asctime)s %(name)s %(levelname)s %(message)s")
    if os.environ.get("PORT"):
        serve(out)
        return
    try:
        with model(out) as ledger:
            sys.exit(anyio.run(write, title, story, out, ledger, answer, crash_at))
    except KeyboardInterrupt:
        print(f"\nStopped. The same command goes on where it was; everything is in {os.path.relpath(out)}.")
        sys.exit(130)


if __name__ == "__main__":
    main()
