"""Describe calls that a body makes where they cannot work: on the event loop, or in a forked child."""

from __future__ import annotations

from asyncjobs.exceptions import JobStateError


def in_forked_child(job_id: str) -> JobStateError:
    """Return the error for a call that a forked child makes for the job of its parent."""
    return JobStateError(
        job_id, "another process's", "a forked child cannot act for it", hint="return the value to the job"
    )


def blocks_loop(job_id: str, call: str, twin: str) -> JobStateError:
    """Return the error for a plain call that would block the event loop that it waits for."""
    return JobStateError(
        job_id,
        "running on the event loop",
        f"{call} is for plain functions in their thread: here it would block the loop forever",
        hint=f"in an 'async def' function: {twin}",
    )


def body_ended(job_id: str) -> JobStateError:
    """Return the error for a call on behalf of a job whose body has ended, by its leftovers or by another job."""
    hint = "a body must wait for its tasks and threads, and each job must call current_job() itself"
    return JobStateError(job_id, "no longer held by this attempt", "its body has ended", hint=hint)
