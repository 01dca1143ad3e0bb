"""The live display: a table that redraws itself in a terminal, one line per change anywhere else."""

from __future__ import annotations

import json
import sys
import time
from types import TracebackType
from typing import Any, Protocol, Self, TextIO

from .board import Board, Event


class Display(Protocol):
    """Something that shows the board as it changes."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def show(self, event: Event, line: str | None) -> None:
        """Show an event that the board has taken in; `line` is the news, if any."""
        ...


class Plain:
    """One line per change."""

    def __init__(self, board: Board, out: TextIO) -> None:
        self.board, self.out, self.began = board, out, time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.out.flush()

    def show(self, event: Event, line: str | None) -> None:
        """Print the news with the count and the time."""
        if line:
            print(
                f"[{self.board.done:3d}/{self.board.total}] {time.monotonic() - self.began:6.1f} s  {line}",
                file=self.out,
                flush=True,
            )


class Lines(Plain):
    """One JSON object per change, for a program that watches."""

    def show(self, event: Event, line: str | None) -> None:
        """Print the event."""
        if line:
            told = {
                "job": event.job_id,
                "type": event.type,
                "attempt": event.attempt,
                "done": self.board.done,
                "total": self.board.total,
            }
            print(json.dumps(told), file=self.out, flush=True)


class Rich:
    """A table with a bar for each stage, redrawn in place."""

    def __init__(self, board: Board, title: str) -> None:
        from rich.console import Console
        from rich.live import Live

        self.board, self.title, self.began = board, title, time.monotonic()
        self.live = Live(console=Console(), refresh_per_second=12, get_renderable=self._render, transient=False)

    def __enter__(self) -> Self:
        self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.live.stop()

    def show(self, event: Event, line: str | None) -> None:
        """Nothing to do: the table is drawn from the board a dozen times a second."""

    def _render(self) -> Any:
        from rich.console import Group
        from rich.panel import Panel
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        board, seconds = self.board, time.monotonic() - self.began
        table = Table.grid(padding=(0, 2), expand=True)
        for ratio in (2, 5, 2, 7):
            table.add_column(ratio=ratio, no_wrap=True, overflow="ellipsis")
        for stage, done, running, total in board.counts():
            names = ", ".join(
                f"{job}" + (f" ({what})" if what else "")
                for job, what in board.running.items()
                if board.stages.get(job) == stage
            )
            style = "green" if done == total else "yellow" if running else "dim"
            table.add_row(
                Text(stage, style=style),
                ProgressBar(total=total, completed=done, complete_style=style, finished_style="green"),
                f"{done}/{total}",
                Text(names, style="cyan"),
            )
        table.add_row(
            Text("all", style="bold"),
            ProgressBar(
                total=board.total, completed=board.done, complete_style="bold green", finished_style="bold green"
            ),
            f"{board.done}/{board.total}",
            Text(
                f"{seconds:.1f} s   retries {len(board.retries)}   interrupted {len(board.interrupted)}", style="bold"
            ),
        )
        lines = [Text(line, style="bold red" if line in board.lost else "magenta") for line in board.troubles[-4:]]
        return Panel(Group(table, *lines), title=self.title, border_style="blue")


def choose(board: Board, title: str, *, json_lines: bool = False, out: TextIO | None = None) -> Display:
    """Return the display that fits: JSON lines on demand, the live table on a terminal with rich, else plain lines."""
    stream = out or sys.stdout
    if json_lines:
        return Lines(board, stream)
    if stream.isatty():
        try:
            return Rich(board, title)
        except ImportError:
            pass
    return Plain(board, stream)
