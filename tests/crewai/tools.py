"""Tools that do not do as they should."""

from __future__ import annotations

import threading

from crewai.events.base_events import BaseEvent
from crewai.events.event_bus import crewai_event_bus
from crewai.tools import tool


@tool
def raising(text: str) -> str:
    """Raise."""
    raise RuntimeError(f"the tool is broken: {text}")


@tool
def endless(text: str) -> str:
    """Hang."""
    threading.Event().wait(60)
    return "late"


@tool
def starting(text: str) -> str:
    """Start a thread that has nothing of the job."""
    thread = threading.Thread(target=lambda: crewai_event_bus.emit(None, Stray()))
    thread.start()
    thread.join()
    return "started"


@tool
def huge(text: str) -> str:
    """Return 5 MB."""
    return "y" * 5_000_000


@tool
def odd(text: str) -> str:
    """Return what no UTF-8 has."""
    return "a NUL \0 and half a pair \ud800"


class Stray(BaseEvent):
    type: str = "task_failed"
    error: str = "stray"
