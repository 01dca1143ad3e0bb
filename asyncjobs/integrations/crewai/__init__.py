"""Run CrewAI's crews and flows as jobs that are watched, stopped and resumed. CrewAI is imported when one is run.

=================== =================================================================================
CrewJobWrapper      run a crew in the body of a job: ``CrewJobWrapper.wrap_crew_run(crew, inputs)``
FlowJobWrapper      the same for a flow
capturing           the same for bodies that call ``kickoff`` themselves
durable             an LLM whose answers are kept, for flows that call one themselves
recommended_env     what to set before CrewAI is imported
=================== =================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyncjobs.integrations.crewai.environment import recommended_env

if TYPE_CHECKING:
    from asyncjobs.integrations.crewai.replay import durable
    from asyncjobs.integrations.crewai.wrappers import CrewJobWrapper, FlowJobWrapper, capturing

__all__ = ["CrewJobWrapper", "FlowJobWrapper", "capturing", "durable", "recommended_env"]


def __getattr__(name: str) -> Any:
    """Import what runs jobs when it is used (PEP 562): ``asyncjobs daemon`` needs the environment alone."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from asyncjobs.integrations.crewai import replay, wrappers

    return getattr(replay if name == "durable" else wrappers, name)
