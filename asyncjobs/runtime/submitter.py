"""Store the jobs of callers and of running bodies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

import anyio.lowlevel
from msgspec.structs import replace

from asyncjobs.backends.base import AttemptRef, JobBackend, NewJob
from asyncjobs.backends.transient import enqueue_patiently
from asyncjobs.clock import Clock
from asyncjobs.core.child_ids import path_before
from asyncjobs.core.codec import result_stand_in
from asyncjobs.exceptions import BackendConnectionError
from asyncjobs.requests import GateRequest, JobRequest
from asyncjobs.runtime import job_log
from asyncjobs.runtime.argument_checks import checked_items, checked_requests
from asyncjobs.runtime.batch_members import ITEMS, name_not_stored, name_refused
from asyncjobs.runtime.functions import Functions
from asyncjobs.runtime.gate_requests import GateSubmissions, build_gate_request
from asyncjobs.runtime.handle import JobHandle
from asyncjobs.runtime.job_access import HandleAccess
from asyncjobs.runtime.live_graph import LiveGraph
from asyncjobs.runtime.requests import build_request
from asyncjobs.runtime.submission import Submissions

AnyRequest = JobRequest | GateRequest

_ENCODED_AT_ONCE = 500
"""Jobs that are encoded before the event loop gets a turn."""


class Submitter:
    """Encodes requests, checks the graph, and stores the jobs.

    :param jobs: the access that handles of children get.
    :param tries: how often a submission is sent to a store that cannot be reached.
    :param owner: returns the id of the worker that may run ``local`` jobs, None without one.
    :param nudge: called before something is stored, so that the claim joins its transaction.
    :param run_here: runs stored jobs here while no worker is alive; None: wait for a worker.
    """

    def __init__(
        self,
        backend: JobBackend,
        submissions: Submissions,
        gates: GateSubmissions,
        functions: Functions,
        graph: LiveGraph,
        clock: Clock,
        jobs: HandleAccess,
        *,
        tries: int,
        owner: Callable[[], str | None],
        nudge: Callable[[], None],
        run_here: Callable[[Sequence[str]], Awaitable[None]] | None,
    ) -> None:
        self.submitted: int = 0
        """Jobs that were stored."""
        self._backend = backend
        self._submissions = submissions
        self.gates = gates
        self._functions = functions
        self._graph = graph
        self._clock = clock
        self._jobs = jobs
        self._tries = tries
        self._owner = owner
        self._nudge = nudge
        self._run_here = run_here

    async def store(
        self,
        requests: Sequence[AnyRequest],
        *,
        several: str | None = None,
        parent: AttemptRef | None = None,
        run: bool = True,
    ) -> Sequence[str]:
        """Store a batch, all of it or nothing; return the ids.

        :param several: the parameter that has the members, of which an error then names one. Default: only one job.
        :param parent: the attempt that submits them.
        :param run: run the jobs here while no worker is alive, if that is how this processor submits. False: the caller
            has that done later.
        """
        owner = self._owner()
        jobs: list[NewJob] = []
        try:
            for i, request in enumerate(requests):
                if isinstance(request, GateRequest):
                    jobs.append(self.gates.encode(request))
                else:
                    jobs.append(self._submissions.encode(request, owner))
                if i % _ENCODED_AT_ONCE == _ENCODED_AT_ONCE - 1:
                    await anyio.lowlevel.checkpoint()  # the loop must serve other tasks, too
        except Exception as error:  # of any kind, and raised again
            if several is not None and len(jobs) < len(requests):
                name_refused(error, several, len(jobs), requests[len(jobs)])
            raise
        return await self._store_encoded(requests, jobs, several, parent, run=run)

    def encode(self, request: AnyRequest) -> NewJob:
        """Encode a job that is stored later, with others, by ``store_noted``."""
        if isinstance(request, GateRequest):
            return self.gates.encode(request)
        return self._submissions.encode(request, self._owner())

    async def store_noted(self, requests: Sequence[AnyRequest], jobs: Sequence[NewJob]) -> None:
        """Store jobs that have been encoded before, all of them or none."""
        owner = self._owner()
        if owner is not None:  # the worker may have got another id since
            jobs = [job if job.owner in (None, owner) else replace(job, owner=owner) for job in jobs]
        await self._store_encoded(requests, jobs, "batch", None)

    async def _store_encoded(
        self,
        requests: Sequence[AnyRequest],
        jobs: Sequence[NewJob],
        several: str | None,
        parent: AttemptRef | None,
        *,
        run: bool = True,
    ) -> Sequence[str]:
        in_graph = await self._graph.add(jobs) if any(job.dependencies for job in jobs) else ()
        gates = self._vouch(requests, jobs)
        local = [job.id for job in jobs if job.owner is not None] or ()
        try:
            stored = await enqueue_patiently(
                self._backend, jobs, parent, tries=self._tries, clock=self._clock, trying=self._nudge
            )
        except BaseException as error:
            self._graph.drop(in_graph)
            if isinstance(error, Exception):
                self._functions.local.refused(local)
            else:  # cancelled, they may be stored nevertheless
                self._functions.local.stored(local)
            if isinstance(error, BackendConnectionError):
                error.request = [replace(request, job_id=job.id) for request, job in zip(requests, jobs, strict=True)]
            elif several is not None:
                name_not_stored(error, several, jobs, requests)
            raise
        self._functions.local.stored(local)
        self.submitted += len(jobs)
        for request, job_id in gates:
            self.gates.note(request, job_id)
        job_log.log_submitted(jobs)
        if run and self._run_here is not None and parent is None and len(gates) < len(jobs):
            await self._run_here(stored)
        return stored

    def _vouch(self, requests: Sequence[AnyRequest], jobs: Sequence[NewJob]) -> Sequence[tuple[GateRequest, str]]:
        """Allow this process to run the functions that it submits; return the gates, which do not run."""
        gates: list[tuple[GateRequest, str]] = []
        for request, job in zip(requests, jobs, strict=True):
            if isinstance(request, GateRequest):
                gates.append((request, job.id))
            else:
                self._submissions.vouch(request, job)
        return gates or ()

    async def submit_job(
        self, func: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]
    ) -> JobHandle[Any]:
        """Store a call as a job."""
        request = build_request(func, args, options)
        if "args" not in options and "kwargs" not in options:
            self._submissions.check_options(func)
        job = self._submissions.encode(request, self._owner())
        ids = await self._store_encoded((request,), (job,), None, None)
        return self._handle(ids[0], request)

    async def submit_gate(self, question: str, options: Mapping[str, Any]) -> JobHandle[Any]:
        """Store a question as a gate."""
        request = build_gate_request(question, options)
        ids = await self.store([request])
        return self._handle(ids[0], request)

    async def submit_jobs(self, requests: Sequence[AnyRequest], if_exists: str | None) -> list[JobHandle[Any]]:
        """Store a batch, all of it or nothing."""
        requests = checked_requests(requests)
        if if_exists is not None:
            requests = [replace(request, if_exists=if_exists) for request in requests]
        return await self._submit_several(requests, "requests")

    async def _submit_several(self, requests: Sequence[AnyRequest], several: str) -> list[JobHandle[Any]]:
        ids = await self.store(requests, several=several)
        return [self._handle(job_id, request) for job_id, request in zip(ids, requests, strict=True)]

    async def map_jobs(
        self, func: Callable[..., Any], items: Iterable[Any], options: dict[str, Any]
    ) -> list[JobHandle[Any]]:
        """Store a call for each item, as one batch."""
        requests = [build_request(func, (item,), dict(options)) for item in checked_items(items)]
        return await self._submit_several(requests, ITEMS)

    def _handle(self, job_id: str, request: AnyRequest) -> JobHandle[Any]:
        if isinstance(request, GateRequest):
            return JobHandle(job_id, self._jobs, self.gates.find_type(request))
        return JobHandle(job_id, self._jobs, result_stand_in(request.func, local=request.local))

    async def submit_child(
        self, parent: AttemptRef, func: Callable[..., Any] | None, args: tuple[Any, ...], options: dict[str, Any]
    ) -> JobHandle[Any]:
        """Store a job that a body submits, as a child of its job: a gate if it has no function."""
        options["if_exists"] = "return"  # a child of an earlier attempt exists already
        options["job_id"] = await self._stored_child(parent, options["job_id"])
        request: AnyRequest
        if func is None:
            request = build_gate_request(args[0], options)
        else:
            request = build_request(func, args, options)
            self._submissions.check_options(func)
        ids = await self.store([request], parent=parent)
        return self._handle(ids[0], request)

    async def submit_encoded(self, parent: AttemptRef, job: NewJob) -> str:
        """Store a child that was encoded in a child process."""
        job = replace(job, id=await self._stored_child(parent, job.id))
        in_graph = await self._graph.add([job])
        try:
            (job_id,) = await self._backend.enqueue_jobs([job], parent=parent)
        except BaseException:
            self._graph.drop(in_graph)
            raise
        self._nudge()
        self.submitted += 1
        return job_id

    async def _stored_child(self, parent: AttemptRef, job_id: str) -> str:
        """Return the id of a child, or the longer one that an attempt under an earlier version gave it."""
        before = path_before(parent.job_id, job_id) if parent.attempt > 1 else None
        return job_id if before is None or await self._backend.get_job(before) is None else before
