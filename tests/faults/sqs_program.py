"""Processes on one table: ``python -m tests.faults.sqs_program NAME SETTINGS …``, settings as ``open_store`` takes.

``run SETTINGS LEASE SLOTS`` runs what is there, and ends at a line or a signal; ``answer SETTINGS ID VALUE`` answers a
gate; ``submit SETTINGS GROUP COUNT`` submits jobs of a group, which others run; ``write SETTINGS GROUP NAME COUNT``
submits such jobs, and runs what is there until a line comes.
"""

from __future__ import annotations

import sys

from asyncjobs import DaemonConfig, JobProcessor
from tests.faults import bodies, question_program, step_bodies, storm_bodies
from tests.faults.bodies import tell
from tests.faults.scenarios import SCENARIOS, listen, main, told_when_recorded
from tests.faults.storm_stores import open_store

FUNCTIONS = (
    *(bodies.work, bodies.work_in_thread, *step_bodies.FUNCTIONS),
    *(question_program.question, *storm_bodies.FUNCTIONS),
)


async def run(settings: str, lease: str, slots: str) -> None:
    """Tell ``opened``, and ``recorded`` for each answer to an outcome."""
    seconds = float(lease)
    config = DaemonConfig(num_workers=int(slots), lease=seconds, heartbeat=seconds / 3, shutdown_timeout=20)
    async with JobProcessor(open_store(settings), daemon=config, functions=FUNCTIONS) as jp:
        outcomes = jp.daemon.runner.recorder.outcomes
        outcomes._log = told_when_recorded(outcomes._log)
        tell("opened")
        await listen()
    tell("left")


async def answer(settings: str, gate: str, value: str) -> None:
    """Tell the ``status`` of the gate."""
    async with JobProcessor(open_store(settings), enable_daemon=False) as jp:
        tell("status", await jp.answer_job(gate, value, by="ana"))


async def submit(settings: str, group: str, count: str) -> None:
    """Tell ``submitted``."""
    async with JobProcessor(open_store(settings), enable_daemon=False) as jp:
        for number in range(int(count)):
            await jp.submit_job(storm_bodies.add, number, 1, job_id=f"{group}-{number}", group=group)
        tell("submitted")


async def write(settings: str, group: str, name: str, count: str) -> None:
    """Tell ``submitted``."""
    async with JobProcessor(open_store(settings), functions=FUNCTIONS) as jp:
        for number in range(int(count)):
            await jp.submit_job(storm_bodies.add, number, 1, job_id=f"{name}-{number}", group=group)
        tell("submitted")
        await listen()


if __name__ == "__main__":
    SCENARIOS.update(run=run, answer=answer, submit=submit, write=write)
    main(*sys.argv[1:])
