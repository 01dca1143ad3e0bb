"""Let a test end that takes too long.

pytest-timeout raises in the main thread, which is the event loop: not in the test, which goes on waiting. Fixtures are
closed by the same task, one after the other, so they would wait for the test, and the whole run with them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator
from contextlib import contextmanager
from inspect import iscoroutinefunction
from typing import Any

import anyio
import pytest

from asyncjobs.runtime.wakeups import LoopHandle


@contextmanager
def ended_with_its_error(item: pytest.Item) -> Generator[None]:
    """Run an asynchronous test, and cancel it if an error has left it that it does not know of."""
    test: Any = getattr(item, "obj", None)
    if not isinstance(item, pytest.Function) or not iscoroutinefunction(test):
        yield
        return
    left: list[Callable[[], object]] = []

    @functools.wraps(test)
    async def run(*args: Any, **kwargs: Any) -> None:
        with anyio.CancelScope() as scope:
            loop = LoopHandle()
            left.append(lambda: loop.call_soon(scope.cancel))
            try:
                await test(*args, **kwargs)
            finally:
                left.clear()

    item.obj = run
    try:
        yield
    except BaseException:
        for cancel in left:
            cancel()
        raise
    finally:
        item.obj = test
