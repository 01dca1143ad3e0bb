"""asyncjobs: the durable job graph for asyncio programs that needs no server.

::

    async with JobProcessor() as jp:                     # one SQLite file, an embedded daemon
        plot = await jp.submit_job(write_plot, "noir")   # durable once this returns
        page = await jp.submit_job(draw_page, plot)      # a handle as argument: its result is injected
        picture = await page
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from asyncjobs.config import BackendConfig, BackendType, DaemonConfig, MemoryConfig, SQLiteConfig, SQSConfig
from asyncjobs.core.retry import RetryPolicy
from asyncjobs.exceptions import (
    AnswerTimeoutError,
    BackendClosedError,
    BackendConnectionError,
    BackendError,
    ConfigurationError,
    ConversionError,
    CorruptValueError,
    CyclicDependencyError,
    DuplicateJobError,
    JobCancelledError,
    JobConflictError,
    JobExecutionError,
    JobNotCompletedError,
    JobNotFoundError,
    JobProcessorError,
    JobSkippedError,
    JobStateError,
    JobTimeoutError,
    MissingExtraError,
    NotSerializableError,
    RejectedError,
    SchemaVersionError,
    SubmissionError,
    UnknownDependencyError,
    WorkerLostError,
)
from asyncjobs.models import (
    Attempt,
    Edge,
    EdgeState,
    Gate,
    GroupProgress,
    Job,
    JobEvent,
    JobPage,
    JobResult,
    JobStatus,
    Limit,
    Progress,
    Reason,
    StatusReport,
    WorkerInfo,
)
from asyncjobs.processor import JobProcessor
from asyncjobs.requests import GateRequest, JobQuery, JobRequest
from asyncjobs.runtime.context import JobContext, current_job
from asyncjobs.runtime.decorator import job
from asyncjobs.runtime.gather import as_completed, gather
from asyncjobs.runtime.handle import JobHandle
from asyncjobs.runtime.stored_calls import JobArguments

if TYPE_CHECKING:
    from asyncjobs.backends.base import JobBackend
    from asyncjobs.backends.memory import MemoryBackend
    from asyncjobs.backends.sqlite.backend import SQLiteBackend
    from asyncjobs.backends.sqs.backend import SQSBackend
    from asyncjobs.core.dag import JobDAG
    from asyncjobs.runtime.daemon import JobDaemon
    from asyncjobs.runtime.events.publisher import EventPublisher
    from asyncjobs.runtime.events.streamer import StatusStreamer
    from asyncjobs.runtime.worker import Worker
    from asyncjobs.sync import SyncHandle, SyncJobs

_LAZY = {
    "EventPublisher": "asyncjobs.runtime.events.publisher",
    "JobBackend": "asyncjobs.backends.base",
    "JobDAG": "asyncjobs.core.dag",
    "JobDaemon": "asyncjobs.runtime.daemon",
    "MemoryBackend": "asyncjobs.backends.memory",
    "SQLiteBackend": "asyncjobs.backends.sqlite.backend",
    "SQSBackend": "asyncjobs.backends.sqs.backend",
    "StatusStreamer": "asyncjobs.runtime.events.streamer",
    "SyncHandle": "asyncjobs.sync",
    "SyncJobs": "asyncjobs.sync",
    "Worker": "asyncjobs.runtime.worker",
}


def __getattr__(name: str) -> Any:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


__version__ = "0.1.0"

__all__ = [
    "AnswerTimeoutError",
    "Attempt",
    "BackendClosedError",
    "BackendConfig",
    "BackendConnectionError",
    "BackendError",
    "BackendType",
    "ConfigurationError",
    "ConversionError",
    "CorruptValueError",
    "CyclicDependencyError",
    "DaemonConfig",
    "DuplicateJobError",
    "Edge",
    "EdgeState",
    "EventPublisher",
    "Gate",
    "GateRequest",
    "GroupProgress",
    "Job",
    "JobArguments",
    "JobBackend",
    "JobCancelledError",
    "JobConflictError",
    "JobContext",
    "JobDAG",
    "JobDaemon",
    "JobEvent",
    "JobExecutionError",
    "JobHandle",
    "JobNotCompletedError",
    "JobNotFoundError",
    "JobPage",
    "JobProcessor",
    "JobProcessorError",
    "JobQuery",
    "JobRequest",
    "JobResult",
    "JobSkippedError",
    "JobStateError",
    "JobStatus",
    "JobTimeoutError",
    "Limit",
    "MemoryBackend",
    "MemoryConfig",
    "MissingExtraError",
    "NotSerializableError",
    "Progress",
    "Reason",
    "RejectedError",
    "RetryPolicy",
    "SQLiteBackend",
    "SQLiteConfig",
    "SQSBackend",
    "SQSConfig",
    "SchemaVersionError",
    "StatusReport",
    "StatusStreamer",
    "SubmissionError",
    "SyncHandle",
    "SyncJobs",
    "UnknownDependencyError",
    "Worker",
    "WorkerInfo",
    "WorkerLostError",
    "as_completed",
    "current_job",
    "gather",
    "job",
]
