"""What programs are printed that submit crews and flows; none of it needs CrewAI."""
# ruff: noqa: E501 - messages are listed as they are

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asyncjobs import JobProcessor, MemoryBackend, current_job
from tests.architecture.hints.following import Hints, Words, refusal, refused

NAME = "shop.crews:make_crew"


class Crew:
    """A program gives an object of this class in place of what makes one."""

    def kickoff(self) -> None:
        raise NotImplementedError

    def copy(self) -> Crew:
        return Crew()


async def submitting_runs(hints: Hints) -> None:
    async with JobProcessor(MemoryBackend()) as jp:
        given: Any = "noir"
        no = await refusal(jp.submit_crew_run(NAME, args=given))
        args = hints.code(no.hint, "(value,)", value=given)
        hints.follow(no.hint)
        handles = [await jp.submit_crew_run(NAME, args=args)]

        text = await refusal(jp.submit_crew_run(NAME, {"topic": "\ud800"}))
        clean = hints.code(text.hint, "text.encode('utf-8', 'replace').decode()", text="\ud800")
        handles.append(await jp.submit_crew_run(NAME, {"topic": clean}))

        crew = await refusal(jp.submit_crew_run(Crew()))
        assert "local=True" in hints.follow(crew.hint)
        here = await jp.submit_crew_run(Crew(), local=True)
        assert await refusal(here)  # it was tried here: no CrewAI, or no crew of it

        async def body() -> list[str]:
            job = current_job()
            crews = refused(lambda: job.submit_crew_run_sync(NAME))
            flows = refused(lambda: job.submit_flow_run_sync(NAME))
            twins = (crews, "await current_job().submit_crew_run(…)"), (flows, "await current_job().submit_flow_run(…)")
            runs = [
                await hints.awaited(hints.follow(refusal) and refusal.hint, twin, repr(NAME), current_job=current_job)
                for refusal, twin in twins
            ]
            return [run.id for run in runs]

        children = await (await jp.submit_job(body, local=True))
        assert [await jp.cancel_job(job) for job in (*handles, *children)] == ["cancelled"] * 4


CREWAI = Words("tried by make test-crewai, where CrewAI is")

LISTED: dict[tuple[str, str], Callable[[Hints], Any] | Words] = {
    ("runtime/crewai_inputs.py", "text.encode('utf-8', 'replace').decode() cleans it"): submitting_runs,
    ("runtime/crewai_methods.py", "await current_job().submit_crew_run(…)"): submitting_runs,
    ("runtime/crewai_methods.py", "await current_job().submit_flow_run(…)"): submitting_runs,
    ("runtime/crewai_methods.py", "current_job().submit_crew_run_sync(…)"): submitting_runs,
    ("runtime/crewai_methods.py", "current_job().submit_flow_run_sync(…)"): submitting_runs,
    ("runtime/crewai_requests.py", "args=(value,)"): submitting_runs,
    (
        "runtime/crewai_requests.py",
        "{}; with local=True this process runs a copy of the object, and no other can",
    ): submitting_runs,
    ("integrations/crewai/library.py", 'pip install "{}"'): Words("names the versions that are supported"),
    (
        "integrations/crewai/questions.py",
        "crew.train() asks at a terminal, which a job has not",
    ): Words("names a call of CrewAI's that a job cannot make"),
    (
        "integrations/crewai/wrappers.py",
        "the flow {} waits in {}() for feedback that its own provider asks for ({}). No job resumes it: {}.from_pending({}).resume(feedback)",
    ): CREWAI,
    ("integrations/crewai/wrappers.py", "CrewJobWrapper.wrap_crew_run(…)"): CREWAI,
    ("integrations/crewai/wrappers.py", "FlowJobWrapper.wrap_flow_run(…)"): CREWAI,
    ("integrations/crewai/wrappers.py", "wrap_crew_run(make_crew(), …)"): CREWAI,
    ("integrations/crewai/wrappers.py", "wrap_flow_run(MyFlow(), …)"): CREWAI,
    ("cli/run_views.py", "{}: {} (--json shows them)"): CREWAI,
}
