"""Make the body of a job of a factory of flows: ``flow+shop.flows:Story``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asyncjobs.integrations.crewai.environment import collecting
from asyncjobs.integrations.crewai.library import check_version
from asyncjobs.integrations.crewai.results import FlowResult, flow_result

LIBRARY = "crewai"
HEEDS_STOP = True
check = check_version


def adapt(factory: Callable[..., Any]) -> Callable[..., Any]:
    """Return a body that has the factory make a flow, and runs it."""

    @collecting
    def body(*args: Any, inputs: dict[str, Any] | None = None, durable: bool = True, **kwargs: Any) -> FlowResult:
        from asyncjobs.integrations.crewai.building import build_flow
        from asyncjobs.integrations.crewai.run import running
        from asyncjobs.integrations.crewai.wrappers import kick_off_flow

        with running(durable=durable) as run:
            flow = build_flow(factory, args, kwargs)
            value = kick_off_flow(flow, inputs)
            return flow_result(value, flow.state, run.usage.metrics())

    return body
