"""Give ``current_job()`` the runs of CrewAI: crews and flows as children of a job."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from asyncjobs.runtime.body_calls import BodyCalls
from asyncjobs.runtime.crewai_requests import run_request

if TYPE_CHECKING:
    from typing import Unpack

    from asyncjobs.runtime.crewai_requests import ChildRunOptions
    from asyncjobs.runtime.handle import JobHandle


class CrewAIMethods(BodyCalls):
    """What a body does with crews and flows, as children of its job.

    The options are those of ``JobProcessor.submit_crew_run``, but for ``job_id``; ``key`` names the child, as in
    ``submit_job``.
    """

    async def submit_crew_run(
        self,
        factory: Callable[..., Any] | str | Any,
        inputs: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        **options: Unpack[ChildRunOptions],
    ) -> JobHandle[Any]:
        """Submit the run of a crew as a child of this job."""
        func, given = run_request("crew", factory, inputs, {**options})
        return await self._call_submit(func, (), key, given)

    def submit_crew_run_sync(
        self,
        factory: Callable[..., Any] | str | Any,
        inputs: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        **options: Unpack[ChildRunOptions],
    ) -> JobHandle[Any]:
        """``submit_crew_run`` for plain functions in their thread.

        :raises JobStateError: called on the event loop, by an ``async def`` body: ``await submit_crew_run(…)`` there.
        """
        self.refuse_on_loop("current_job().submit_crew_run_sync(…)", "await current_job().submit_crew_run(…)")
        func, given = run_request("crew", factory, inputs, {**options})
        return self.run_sync(self._call_submit, func, (), key, given)

    async def submit_flow_run(
        self,
        factory: Callable[..., Any] | str,
        inputs: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        **options: Unpack[ChildRunOptions],
    ) -> JobHandle[Any]:
        """Submit the run of a flow as a child of this job."""
        func, given = run_request("flow", factory, inputs, {**options})
        return await self._call_submit(func, (), key, given)

    def submit_flow_run_sync(
        self,
        factory: Callable[..., Any] | str,
        inputs: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        **options: Unpack[ChildRunOptions],
    ) -> JobHandle[Any]:
        """``submit_flow_run`` for plain functions in their thread.

        :raises JobStateError: called on the event loop, by an ``async def`` body: ``await submit_flow_run(…)`` there.
        """
        self.refuse_on_loop("current_job().submit_flow_run_sync(…)", "await current_job().submit_flow_run(…)")
        func, given = run_request("flow", factory, inputs, {**options})
        return self.run_sync(self._call_submit, func, (), key, given)
