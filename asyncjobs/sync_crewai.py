"""Give ``SyncJobs`` the runs of CrewAI: crews and flows as jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from asyncjobs.runtime.handle import JobHandle
from asyncjobs.sync_gates import SyncGateCalls

if TYPE_CHECKING:
    from typing import Unpack

    from asyncjobs.runtime.crewai_requests import RunOptions
    from asyncjobs.sync import SyncHandle


class SyncCrewAICalls(SyncGateCalls):
    """What a plain program does with crews and flows."""

    def submit_crew_run(
        self,
        factory: Callable[..., Any] | str | Any,
        inputs: Mapping[str, Any] | None = None,
        **options: Unpack[RunOptions],
    ) -> SyncHandle[Any]:
        """Store the run of a crew as a job: see ``JobProcessor.submit_crew_run``. Durable when this returns."""

        async def submit() -> JobHandle[Any]:
            return await self.processor.submit_crew_run(factory, inputs, **options)

        handle: JobHandle[Any] = self.call(submit)
        return self._sync_handle(handle)

    def submit_flow_run(
        self, factory: Callable[..., Any] | str, inputs: Mapping[str, Any] | None = None, **options: Unpack[RunOptions]
    ) -> SyncHandle[Any]:
        """Store the run of a flow as a job: see ``JobProcessor.submit_flow_run``. Durable when this returns."""

        async def submit() -> JobHandle[Any]:
            return await self.processor.submit_flow_run(factory, inputs, **options)

        handle: JobHandle[Any] = self.call(submit)
        return self._sync_handle(handle)
