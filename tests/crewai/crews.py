"""Factories of crews and flows, as a program has them."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from crewai import LLM, Agent, BaseLLM, Crew, Process, Task
from crewai.events.event_bus import crewai_event_bus
from crewai.events.types.llm_events import LLMStreamChunkEvent
from crewai.flow.async_feedback import ConsoleProvider, HumanFeedbackPending
from crewai.flow.flow import Flow, listen, or_, router, start
from crewai.flow.human_feedback import human_feedback
from crewai.hooks import InterceptionPoint, clear_all_hooks, register_hook
from crewai.project import CrewBase, agent, crew, task
from crewai.tools import tool
from pydantic import BaseModel

from asyncjobs import current_job
from asyncjobs.integrations.crewai import durable, recommended_env
from tests.crewai.tools import endless, huge, odd, raising, starting


def llm(*, stream: bool = True) -> Any:
    return LLM(model="openai/gpt-4o-mini", stream=stream, max_retries=0)


def worker(role: str, *, stream: bool = True, tools: Any = ()) -> Agent:
    return Agent(
        role=role, goal="write", backstory="a writer", llm=llm(stream=stream), tools=list(tools), max_retry_limit=0
    )


def one(text: str = "Write about {topic}.", *, stream: bool = True, stubborn: bool = False) -> Crew:
    """One agent, one task. ``stubborn``: it swallows what should end it."""
    if stubborn:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    writer = worker("Writer", stream=stream)
    return Crew(agents=[writer], tasks=[Task(description=text, expected_output="text", agent=writer)])


@tool
def lookup(name: str, log: str) -> str:
    """Look a name up."""
    with Path(log).open("a") as file:
        file.write(f"{name}\n")
    return f"the address of {name}"


def three(text: str = "", log: str = "", *, stream: bool = True) -> Crew:
    """Three agents one after the other; the first calls a tool, if there is a file for its calls."""
    roles = ["Researcher", "Writer", "Editor"]
    call = f'[[tool lookup {{"name": "Holmes", "log": "{log}"}}]]' if log else ""
    agents = [worker(role, stream=stream, tools=[lookup] if log and role == roles[0] else []) for role in roles]
    tasks = [
        Task(
            description=f"{by.role} on {{topic}} {text} {call if by is agents[0] else ''}",
            expected_output="text",
            agent=by,
        )
        for by in agents
    ]
    return Crew(agents=agents, tasks=tasks)


def hierarchical(text: str = "") -> Crew:
    agents = [worker("Writer")]
    delegate = '[[tool delegate_work_to_coworker {"task": "Of {topic}", "context": "none", "coworker": "Writer"}]]'
    tasks = [Task(description=f"Write about {{topic}} {text} {delegate}", expected_output="text")]
    return Crew(agents=agents, tasks=tasks, process=Process.hierarchical, manager_llm=llm())


def asynchronous(text: str = "") -> Crew:
    agents = [worker(role) for role in ("Left", "Right", "Editor")]
    tasks = [
        Task(
            description=f"{by.role} on {{topic}} {text}",
            expected_output="text",
            agent=by,
            async_execution=by is not agents[2],
        )
        for by in agents
    ]
    return Crew(agents=agents, tasks=tasks)


class Clue(BaseModel):
    name: str
    weight: int


@CrewBase
class Mystery:
    """A class of CrewAI's own kind."""

    agents: list[Any]
    tasks: list[Any]
    agents_config = None
    tasks_config = None

    @agent
    def writer(self) -> Agent:
        return worker("Writer")

    @task
    def write(self) -> Task:
        return Task(description="Write about {topic}.", expected_output="text", agent=self.writer())

    @crew
    def crew(self) -> Crew:
        return Crew(agents=self.agents, tasks=self.tasks)


class Story(Flow[Any]):
    """An agent in one method, a crew in the next."""

    @start()
    def begin(self) -> str:
        self.state["begun"] = True
        return str(worker("Poet").kickoff(f"Begin with {self.state.get('topic')}").raw)

    @listen(begin)
    def end(self, text: str) -> str:
        return str(one("Go on with {topic}").kickoff(inputs={"topic": text}).raw)


def nothing() -> None:
    """Make nothing."""


def a_class() -> type:
    return Crew


async def later() -> Crew:
    return one()


def broken() -> Crew:
    raise RuntimeError("no model today")


def human() -> Crew:
    """A person is asked about the answer."""
    writer = worker("Writer")
    return Crew(
        agents=[writer],
        tasks=[
            Task(
                name="write", description="Write about {topic}.", expected_output="text", agent=writer, human_input=True
            )
        ],
    )


class Verdict(Flow[Any]):
    """Asks who it was, and whether it is so."""

    @start()
    @human_feedback(message="Is this the murderer?", emit=["yes", "no"], llm="openai/gpt-4o-mini")
    def accuse(self) -> str:
        return f"It was {self.ask('Who?')}."

    @listen("yes")
    def close(self) -> str:
        return f"closed: {self.last_human_feedback.output}"

    @listen("no")
    def again(self) -> str:
        return "again"


class Slack:
    """A provider of the program's own, which does not wait."""

    def request_feedback(self, context: Any, flow: Any) -> str:
        raise HumanFeedbackPending(context=context)


class Elsewhere(Flow[Any]):
    @start()
    @human_feedback(message="Good?", provider=Slack())
    def begin(self) -> str:
        return "a text"


class Failing(Flow[Any]):
    @start()
    def begin(self) -> str:
        raise RuntimeError("no more ink")


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Strange(Flow[Any]):
    @start()
    def begin(self) -> str:
        self.state["text"] = "\0\ud800"
        self.state["thing"] = Unprintable()
        return "done"


def sharing() -> Crew:
    """Two agents with one LLM."""
    model = llm()
    agents = [worker(role) for role in ("First", "Second")]
    for by in agents:
        by.llm = model
    tasks = [Task(description=f"{by.role} on {{topic}}", expected_output="text", agent=by) for by in agents]
    return Crew(agents=agents, tasks=tasks)


def two() -> Crew:
    """Two tasks, with an input of its own for the second."""
    agents = [worker(role) for role in ("First", "Second")]
    texts = ["Begin with {topic}", "Go on {second}"]
    tasks = [Task(description=text, expected_output="text", agent=by) for by, text in zip(agents, texts, strict=True)]
    return Crew(agents=agents, tasks=tasks)


def modelled(model: str = "Clue") -> Crew:
    """A task whose output is a model."""
    writer = worker("Writer")
    output = outputs[model]
    return Crew(
        agents=[writer],
        tasks=[Task(description="A clue on {topic}", expected_output="a clue", agent=writer, output_pydantic=output)],
    )


def moved() -> type[BaseModel]:
    """A class that is found nowhere."""

    class Gone(BaseModel):
        name: str

    return Gone


outputs = {"Clue": Clue, "moved": moved()}


class WithCrew(Flow[Any]):
    """Ends with the output of a crew."""

    @start()
    def begin(self) -> Any:
        return one().kickoff(inputs={"topic": "noir"})


class WithModel(Flow[Any]):
    @start()
    def begin(self) -> Clue:
        return Clue(name="a knife", weight=3)


class Whole(Flow[Any]):
    @start()
    def make(self) -> Any:
        return {"clues": [Clue(name="long" * 10_000, weight=1)], "tags": {f"{place:03d}" for place in range(500)}}


class WithObject(Flow[Any]):
    @start()
    def begin(self) -> Any:
        return {"thing": object(), "numbers": [1, 2]}


def streaming() -> Crew:
    """A crew with ``stream=True``, whose kickoff returns its pieces."""
    crew = one()
    crew.stream = True
    return crew


class Large(Flow[Any]):
    @start()
    def begin(self) -> str:
        return "x" * 30_000


class FailingLater(Flow[Any]):
    @start()
    def begin(self) -> str:
        self.state["written"] = 1
        return "a text"

    @listen(begin)
    def end(self, text: str) -> str:
        raise RuntimeError("no more ink")


class Untold(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class FailingStrangely(Flow[Any]):
    @start()
    def begin(self) -> str:
        raise Untold


def long() -> Crew:
    """A prompt of 10 MB, and a call that fails."""
    return one("{secret} [[status 400]]" + "x" * 10_000_000)


def a_coroutine() -> Any:
    return later()


class Counting(Flow[Any]):
    """A flow that goes on for long, one method after the other."""

    @start()
    def begin(self) -> int:
        self.state["n"] = 0
        return 0

    @router(or_(begin, "again"))
    def count(self) -> str:
        time.sleep(0.05)
        self.state["n"] += 1
        current_job().progress(self.state["n"], 200)
        return "again" if self.state["n"] < 200 else "enough"


def clearing() -> Crew:
    """A program that removes all hooks while its crew runs."""

    def clear(step: Any) -> None:
        clear_all_hooks()

    clear_all_hooks()
    crew = one()
    crew.step_callback = clear
    return crew


hooked: list[str] = []


def with_hooks() -> Crew:
    """A program with hooks of its own."""

    def before(context: Any) -> None:
        hooked.append("before")

    def after(context: Any) -> None:
        hooked.append("after")

    clear_all_hooks()
    register_hook(InterceptionPoint.PRE_MODEL_CALL, before)
    register_hook(InterceptionPoint.POST_MODEL_CALL, after)
    return one()


failed: list[str] = []


def fail_once() -> None:
    if not failed:
        failed.append("once")
        raise ValueError("not good enough")


def failing_once() -> Crew:
    """A crew whose second task does not take its first answer."""
    crew = two()
    crew.tasks[1].description = "Go on"
    crew.tasks[1].callback = lambda output: fail_once()
    return crew


class FailingOnce(Flow[Any]):
    @start()
    def begin(self) -> str:
        return str(worker("Poet").kickoff("Begin").raw)

    @listen(begin)
    def end(self) -> str:
        worker("Poet").kickoff("End")
        fail_once()
        return "done"


class Changing(Flow[Any]):
    @start()
    def begin(self) -> str:
        text = str(worker("Poet").kickoff(f"Begin {len(failed)}").raw)
        fail_once()
        return text


def on_one_agent() -> Crew:
    """Two tasks at once on one agent; CrewAI may refuse that it runs twice."""
    writer = worker("Writer")
    tasks = [
        Task(description=f"{n} on {{topic}}", expected_output="text", agent=writer, async_execution=n < 2)
        for n in range(3)
    ]
    return Crew(agents=[writer], tasks=tasks)


class Direct(Flow[Any]):
    """Calls a model itself."""

    @start()
    def begin(self) -> str:
        return str(durable(llm()).call(f"Begin with {self.state['topic']}"))

    @listen(begin)
    def end(self, text: str) -> str:
        return str(durable(llm()).call("End [[slow 0.7]]"))


class Twice(Flow[Any]):
    @start()
    def begin(self) -> list[int]:
        return [n for n in (1, 2) if worker("Poet").kickoff("The same").raw]


seen: list[int] = []


@tool
def look(name: str) -> str:
    """Count what is kept."""
    job = current_job()
    key = next(key for key in job.steps._cache._values)
    seen.append(1 if key else 0)
    return "looked"


def looking() -> Crew:
    writer = worker("Writer", tools=[look])
    task = Task(description='{topic} [[tool look {"name": "x"}]]', expected_output="text", agent=writer)
    return Crew(agents=[writer], tasks=[task])


class Odd(str):
    """An answer that does not come back as it is."""


class OddLLM(BaseLLM):
    def call(self, *args: Any, **kwargs: Any) -> Any:
        return Odd("an answer")

    def supports_function_calling(self) -> bool:
        return False


def unkept() -> Crew:
    crew = one()
    crew.agents[0].llm = OddLLM(model="odd")
    return crew


class Patient(Flow[Any]):
    @start()
    @human_feedback(
        message="Good?",
        emit=["yes", "no"],
        llm="openai/gpt-4o-mini",
        default_outcome="yes",
        metadata={"timeout": 0.5},
    )
    def begin(self) -> str:
        return "a text"

    @listen("yes")
    def close(self) -> str:
        return "closed"


class Fine:
    """A provider of the program's own, which waits."""

    def request_feedback(self, context: Any, flow: Any) -> str:
        return "fine"


class Own(Flow[Any]):
    @start()
    @human_feedback(message="Good?", provider=Fine())
    def begin(self) -> str:
        return "a text"

    @listen(begin)
    def end(self, result: Any) -> str:
        return str(result.feedback)


class OnTerminal(Flow[Any]):
    @start()
    @human_feedback(message="Good?", provider=ConsoleProvider())
    def begin(self) -> str:
        return "a text"


most: list[int] = []
_now: list[int] = []


def counted() -> Crew:
    """Notes how many factories are called at this moment."""
    _now.append(1)
    most.append(len(_now))
    time.sleep(0.02)
    crew = one()
    _now.pop()
    return crew


hangs: list[int] = []
let_go = threading.Event()


def hanging() -> Crew:
    hangs.append(1)
    let_go.wait(60)
    hangs.clear()
    return one("A text")


def tooled(name: str, *, text: str = "x") -> Crew:
    """Calls one of these tools."""
    writer = worker("Writer", tools=[raising, endless, starting, huge, odd])
    task = Task(description=f'{{topic}} [[tool {name} {{"text": "{text}"}}]]', expected_output="text", agent=writer)
    return Crew(agents=[writer], tasks=[task])


def listened() -> Crew:
    """The program's own handlers: one is slow, one raises."""

    @crewai_event_bus.on(LLMStreamChunkEvent)
    def slow(source: Any, event: Any) -> None:
        time.sleep(0.1)

    @crewai_event_bus.on(LLMStreamChunkEvent)
    def broken(source: Any, event: Any) -> None:
        raise RuntimeError("a handler of the program")

    return one()


class Surroundings(Flow[Any]):
    """Returns what it finds in its process."""

    @start()
    def begin(self) -> dict[str, Any]:
        return {
            "environment": {name: os.environ.get(name) for name in recommended_env()},
            "interval": sys.getswitchinterval(),
            "warm": "openai.resources.chat.completions" in sys.modules,
        }


def modelled_first() -> Crew:
    """A task whose output is a model, and one after it."""
    crew, after = modelled(), one("Go on with {topic}")
    return Crew(agents=[*crew.agents, *after.agents], tasks=[*crew.tasks, *after.tasks])
