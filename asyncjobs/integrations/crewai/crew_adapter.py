"""Make the body of a job of a factory of crews: ``crew+shop.crews:make_crew``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asyncjobs.integrations.crewai.environment import collecting
from asyncjobs.integrations.crewai.library import check_version
from asyncjobs.integrations.crewai.results import CrewResult, crew_result

LIBRARY = "crewai"
HEEDS_STOP = True
check = check_version


def adapt(factory: Callable[..., Any]) -> Callable[..., Any]:
    """Return a body that has the factory make a crew, and runs it."""

    @collecting
    def body(*args: Any, inputs: dict[str, Any] | None = None, durable: bool = True, **kwargs: Any) -> CrewResult:
        from asyncjobs.integrations.crewai.building import build_crew
        from asyncjobs.integrations.crewai.run import running
        from asyncjobs.integrations.crewai.wrappers import kick_off_crew

        with running(durable=durable) as run:
            crew = build_crew(factory, args, kwargs)
            output = kick_off_crew(run, crew, inputs)
            return crew_result(output, run.usage.metrics())

    return body
