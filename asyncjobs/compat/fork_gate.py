"""Have forks of this process wait until no call of a tracker has its file open.

A child inherits what SQLite knows about the locks of its parent, but not the locks: one that was forked while another
thread had the file open would wait for that thread for ever, or take locks for its own that it does not have.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

_LONGEST_WAIT = 5.0
"""Seconds after which a fork goes on nevertheless: a call may be waiting for another program's lock."""


class _Gate:
    def __init__(self) -> None:
        self._changed = threading.Condition()  # reentrant: the handler of a signal may fork anywhere
        self._inside: list[int] = []
        """The thread of each call that has its file open."""
        self._forking = False

    @contextmanager
    def passed(self) -> Generator[None]:
        """Keep forks waiting while a call has its file open; wait for a fork that has begun."""
        thread = threading.get_ident()
        with self._changed:
            while self._forking:
                self._changed.wait()
            self._inside.append(thread)
        try:
            yield
        finally:
            with self._changed:
                if thread in self._inside:  # not in a child that was forked in the middle of this call
                    self._inside.remove(thread)
                self._changed.notify_all()

    def before(self) -> None:
        """Wait until no other thread has its file open, and let none open it."""
        deadline = time.monotonic() + _LONGEST_WAIT
        own = threading.get_ident()  # the handler of a signal may fork in the middle of a call, and not wait for it
        self._changed.acquire()
        self._forking = True
        while any(thread != own for thread in self._inside) and (left := deadline - time.monotonic()) > 0:
            self._changed.wait(left)
            self._forking = True  # another thread that forked meanwhile has ended it

    def in_parent(self) -> None:
        """Let calls pass again."""
        self._forking = False
        self._changed.notify_all()
        self._changed.release()

    def in_child(self) -> None:
        """Begin anew: the other threads are not here."""
        self.__init__()


GATE = _Gate()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=GATE.before, after_in_parent=GATE.in_parent, after_in_child=GATE.in_child)
