"""Give ``JobProcessor`` and batches the runs of CrewAI: crews and flows as jobs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from asyncjobs.runtime.crewai_requests import run_request
from asyncjobs.runtime.engine import Engine
from asyncjobs.runtime.handle import JobHandle

if TYPE_CHECKING:
    from typing import Unpack

    from asyncjobs.runtime.crewai_requests import RunOptions


class CrewAICalls:
    """What a program does with crews and flows."""

    _engine: Engine

    async def submit_crew_run(
        self,
        factory: Callable[..., Any] | str | Any,
        inputs: Mapping[str, Any] | None = None,
        **options: Unpack[RunOptions],
    ) -> JobHandle[Any]:
        """Store the run of a crew as a job. Its result is the ``CrewOutput``; a dict of it where CrewAI is not there.

        What its agents do comes as events (``agent_output``, ``usage``; ``agent_state`` when it fails). A cancelled run
        ends at the next token of a stream, else before its next call. Needs the extra ``crewai`` where it is run.

        :param factory: makes the crew, in the worker, anew for each attempt: a function, a ``@CrewBase`` class, or
            the name of one (``"pkg.mod:make_crew"``), which this process then need not have.
        :param inputs: as for ``kickoff``. Handles in it are dependencies, as in ``args`` and ``kwargs``.
        :param local: accept a crew object, of which a copy is run in this process.
        :param durable: keep the answers of language models and tools, so that no later attempt pays for them again.
        :param args: arguments of the factory.
        :param kwargs: its keywords.
        :param options: those of ``submit_job``. The job's metadata has its ``kind`` (``"crew"``) and its ``name``.
        :raises: as ``submit_job``.
        """
        func, given = run_request("crew", factory, inputs, {**options})
        return await self._engine.parts().submitter.submit_job(func, (), given)

    async def submit_flow_run(
        self,
        factory: Callable[..., Any] | str,
        inputs: Mapping[str, Any] | None = None,
        **options: Unpack[RunOptions],
    ) -> JobHandle[Any]:
        """Store the run of a flow as a job. Its result is what the last method of the flow returns.

        :param factory: makes the flow: its class, a function, or the name of one of them.
        :param local: accept a function that only this process has.
        :param options: as for ``submit_crew_run``, and so is all else; events of the flow itself are ``flow_state``.
        """
        func, given = run_request("flow", factory, inputs, {**options})
        return await self._engine.parts().submitter.submit_job(func, (), given)


class BatchCrewAICalls(ABC):
    """What a batch does with crews and flows."""

    @abstractmethod
    def submit_job(self, func: Callable[..., Any], /, *args: Any, **options: Any) -> JobHandle[Any]:
        """Note a job down."""

    def submit_crew_run(
        self,
        factory: Callable[..., Any] | str | Any,
        inputs: Mapping[str, Any] | None = None,
        **options: Unpack[RunOptions],
    ) -> JobHandle[Any]:
        """Note the run of a crew down, as ``JobProcessor.submit_crew_run`` takes it."""
        func, given = run_request("crew", factory, inputs, {**options})
        return self.submit_job(func, **given)

    def submit_flow_run(
        self,
        factory: Callable[..., Any] | str,
        inputs: Mapping[str, Any] | None = None,
        **options: Unpack[RunOptions],
    ) -> JobHandle[Any]:
        """Note the run of a flow down, as ``JobProcessor.submit_flow_run`` takes it."""
        func, given = run_request("flow", factory, inputs, {**options})
        return self.submit_job(func, **given)
