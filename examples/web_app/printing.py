"""A job that asks: it is parked until somebody answers, and holds nothing meanwhile, not even over a restart."""

from __future__ import annotations

import shutil
from pathlib import Path

import anyio.to_thread

from asyncjobs import current_job

YES, NO = "Print it", "Not now"
A_WEEK = 7 * 86_400


async def print_page(page: Path) -> Path | None:
    """Ask whether to print a page, and do so: into the folder `printed` of its comic."""
    job = current_job()
    answer = await job.ask("Print this page?", key="page", choices=[YES, NO], timeout=A_WEEK, default=NO, park=True)
    if answer == NO:
        job.log(f"{page.name} is not printed")
        return None
    printed = page.parent.parent / "printed" / page.name
    await anyio.to_thread.run_sync(_copy, page, printed)
    job.log(f"{page.name} is printed")
    return printed


def _copy(page: Path, printed: Path) -> None:
    printed.parent.mkdir(exist_ok=True)
    shutil.copyfile(page, printed)
