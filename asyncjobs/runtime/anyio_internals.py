"""All that is used of anyio's private names, each with its reason. Elsewhere its documented interface is enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio

if TYPE_CHECKING:
    import asyncio


def takes_foreign_cancellations(scope: anyio.CancelScope) -> bool:
    """Whether a cancelled scope swallows a cancellation that another scope has caused.

    So it is before anyio 4.16: a task group in a body, cancelled because its host was, would end as if nothing had
    been, and the body go on behind it. The attribute came with the correction.
    """
    return not hasattr(scope, "_cancelling_at_enter")


def cancel_unless_shielded(task: asyncio.Task[Any], inside: anyio.CancelScope) -> bool:
    """Cancel the task as its event loop does, unless a scope within ``inside`` shields it. Return whether it was.

    For the versions of which ``takes_foreign_cancellations`` is true; they are released, and do not change any more.
    Like anyio, leave alone a task that is about to go on with what it waited for.
    """
    from anyio._backends import _asyncio

    states: Any = _asyncio._task_states  # pyright: ignore - the only way from a task to its scopes
    scope = states[task].cancel_scope
    while scope is not inside:
        if scope.shield:
            return False
        scope = scope._parent_scope
    waiter: Any = getattr(task, "_fut_waiter", None)
    if waiter is not None and waiter.done():
        return False
    task.cancel("the job was told to stop")
    return True
