"""What the integration stands on, although CrewAI does not document all of it: checked against each version."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from crewai.events.base_events import BaseEvent
from crewai.events.event_bus import crewai_event_bus
from crewai.events.stream_context import add_stream_sink, reset_stream_sinks

from asyncjobs.integrations.crewai.reports import _REPORTS
from asyncjobs.integrations.crewai.shown import is_internal
from tests.crewai import crews
from tests.crewai.conftest import Model

pytestmark = pytest.mark.timeout(120)


def classes() -> list[type[BaseEvent]]:
    """Every class of events."""
    found: list[type[BaseEvent]] = []
    rest: list[type[BaseEvent]] = [BaseEvent]
    while rest:
        cls = rest.pop()
        found.append(cls)
        rest += cls.__subclasses__()
    return list(dict.fromkeys(found))


def run_story() -> Any:
    return crews.Story().kickoff(inputs={"topic": "noir"})


RUNS = {
    "sequential": lambda: crews.three().kickoff(inputs={"topic": "noir"}),
    "async": lambda: crews.asynchronous().kickoff(inputs={"topic": "noir"}),
    "hierarchical": lambda: crews.hierarchical().kickoff(inputs={"topic": "noir"}),
    "flow": run_story,
}


@pytest.mark.parametrize("kind", RUNS)
def test_the_sink_gets_the_events_that_the_documented_bus_has(model: Model, kind: str) -> None:
    lock = threading.Lock()
    by_bus: list[str] = []
    by_sink: list[tuple[str, str]] = []

    def on_bus(source: Any, event: Any) -> None:
        with lock:
            by_bus.append(event.event_id)

    def sink(source: Any, event: Any) -> None:
        with lock:
            by_sink.append((event.event_id, event.type))

    with crewai_event_bus.scoped_handlers():
        for cls in classes():
            crewai_event_bus.register_handler(cls, on_bus)
        token = add_stream_sink(sink)
        try:
            RUNS[kind]()
        finally:
            reset_stream_sinks(token)
        crewai_event_bus.flush()
    assert len(by_sink) > 10
    assert sorted(id for id, _ in by_sink) == sorted(set(by_bus))


def test_a_sink_is_of_its_context_alone(model: Model) -> None:
    seen: list[str] = []
    token = add_stream_sink(lambda source, event: seen.append(event.type))
    reset_stream_sinks(token)
    RUNS["sequential"]()
    assert seen == []


def test_flows_of_crewai_itself_are_known_from_those_of_programs(model: Model) -> None:
    """An agent runs in a flow of CrewAI's own, which no page is to see."""
    flows: list[tuple[bool, str]] = []

    def sink(source: Any, event: Any) -> None:
        if event.type == "flow_started":
            flows.append((is_internal(source), event.flow_name))

    token = add_stream_sink(sink)
    try:
        RUNS["sequential"]()
        assert flows
        assert all(internal for internal, _ in flows)
        RUNS["flow"]()
    finally:
        reset_stream_sinks(token)
    assert [name for internal, name in flows if not internal] == ["Story"]


def test_every_event_that_is_reported_is_one_of_this_version() -> None:
    known = {cls.model_fields["type"].default for cls in classes() if "type" in cls.model_fields}
    assert set(_REPORTS) - known <= {"flow_failed"}  # which 1.15.3 does not have
