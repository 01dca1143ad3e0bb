"""The interface of the old job tracker, on a file of asyncjobs.

::

    from asyncjobs.compat import Job, JobTracker, JobType

    tracker = JobTracker("cinema_jobs.db")    # a file of the old tracker is imported, and stays as it is
    tracker.save_job(Job(id="plot", type=JobType.SCREENPLAY), "detective_1")
"""

from asyncjobs.compat.job import Job, JobStatus, JobType
from asyncjobs.compat.pipeline import Pipeline, Runner
from asyncjobs.compat.state import PipelineState
from asyncjobs.compat.tracker import JobTracker

__all__ = ["Job", "JobStatus", "JobTracker", "JobType", "Pipeline", "PipelineState", "Runner"]
