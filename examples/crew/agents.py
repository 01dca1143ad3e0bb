"""The crew that writes the mystery, and the flow that revises it. Imported where they are run, and CrewAI with it."""

# Without "from __future__ import annotations": CrewAI reads the annotations of guardrails, routers and tools.

import os
from typing import Any, Literal

from crewai import LLM, Agent, Crew, Task
from crewai.events.utils.console_formatter import set_suppress_console_output
from crewai.flow.flow import Flow, listen, or_, router, start
from crewai.flow.human_feedback import human_feedback
from crewai.tools import tool
from pydantic import BaseModel

from asyncjobs.integrations.crewai import durable
from examples.crew.screenplay import LINES, LONGEST, SUSPECTS, ScreenplayError, parse, storyboard

MODEL = os.environ.get("MODEL", "openai/gpt-4o-mini")
QUESTION = "Is this the murderer?"
A_WEEK = 7 * 86_400
FORMAT = f"""\
Murderer: one of {", ".join(SUSPECTS)}
Motive: one sentence
Weapon: one sentence
Clue: one sentence (three such lines)

1. Speaker: words
… {LINES} lines, one for each picture, of at most {LONGEST} characters. Speakers: \
{", ".join(name for name in storyboard()["characters"] if name != "Ashby")}.
1 is said on the way into the house, 2 by Clara, 3 over the cup of milk, 4 in the inn, 5 at the doctor's, 6 over half of
a railway ticket, 7 by the murderer, 8 by Quill on the way out."""


def make_llm(story: str) -> Any:
    """Return the language model; its text streams, so that it is seen as it is written, and can be stopped.

    :param story: whom its makers should see as the user: who pays for what is known by it.
    """
    return LLM(model=MODEL, stream=True, additional_params={"user": story})


def _agent(story: str, role: str, goal: str, backstory: str, **options: Any) -> Agent:
    return Agent(role=role, goal=goal, backstory=backstory, llm=make_llm(story), **options)


def author(story: str) -> Agent:
    """Return the agent that writes the lines, in the crew and in the flow."""
    return _agent(story, "Author", "write lines that people say", "You write for the stage, and waste no word.")


@tool
def alibi_of(name: str) -> str:
    """Return where a suspect says they were, and who saw them there."""
    return {
        "Clara": "At the window of her room from eight to eleven; the gardener saw her light, and her.",
        "Hale": "In London since Wednesday, he says. No one at his club saw him.",
        "Pike": "Behind the bar of the inn all evening, before thirty guests.",
    }.get(name, f"Nobody knows a {name}.")


def is_screenplay(output: Any) -> tuple[bool, Any]:
    """Have an author write again what could not be drawn: CrewAI hands the reason back."""
    try:
        parse(output.raw)
    except ScreenplayError as error:
        return False, f"{error}. The format is:\n{FORMAT}"
    return True, output.raw


def make_crew(story: str) -> Crew:
    """Return the crew that writes the mystery: it is made anew for each attempt of its job."""
    plotter = _agent(story, "Plotter", "think of a murder that has a reason", "You have written forty mysteries.")
    investigator = _agent(
        story, "Investigator", "find what gives the murderer away", "You trust no alibi.", tools=[alibi_of]
    )
    writer = author(story)
    plot = Task(
        name="The plot",
        description='A mystery called "{title}". Lord Ashby is dead at Ashby Hall. Who did it, and why? The suspects: '
        "Clara, his niece; Dr. Hale, the family doctor; Pike, the innkeeper.",
        expected_output="two paragraphs that name the murderer and the motive",
        agent=plotter,
    )
    clues = Task(
        name="The clues",
        description="Ask for the alibi of the murderer, and find three clues that Vera Quill, the detective, can see.",
        expected_output="two short paragraphs",
        agent=investigator,
        context=[plot],
    )
    screenplay = Task(
        name="The screenplay",
        description=f"Write the screenplay, in this format and with nothing around it:\n{FORMAT}",
        expected_output="the screenplay",
        agent=writer,
        context=[plot, clues],
        guardrail=is_screenplay,
    )
    return Crew(name="Writers", agents=[plotter, investigator, writer], tasks=[plot, clues, screenplay])


class RevisionState(BaseModel):
    """What the flow knows."""

    story: str = ""
    title: str = ""
    draft: str = ""
    notes: str = ""


class Revision(Flow[RevisionState]):
    """An editor reads the draft and has it written again or not; then a person is asked about the murderer, once."""

    @start()
    def edit(self) -> str:
        """Have the editor read the draft."""
        editor = _agent(self.state.story, "Editor", "make good stories better", "You read each line aloud.")
        self.state.notes = str(
            editor.kickoff(
                f'Read this screenplay, called "{self.state.title}". Begin your answer with "Verdict: good" or '
                f'"Verdict: revise", then say why in three sentences.\n\n{self.state.draft}'
            ).raw
        )
        return self.state.notes

    @router(edit)
    def decide(self) -> Literal["good", "revise"]:
        """Go the way that the editor has named."""
        return "revise" if "verdict: revise" in self.state.notes.lower() else "good"

    @listen("revise")
    def rewrite(self) -> str:
        """Have the author take up the notes."""
        return self._write(f"An editor has read your screenplay:\n\n{self.state.notes}")

    @listen(or_("good", rewrite))
    @human_feedback(
        message=QUESTION,
        emit=["yes", "no"],
        llm=durable(make_llm("the question")),
        default_outcome="yes",
        metadata={"timeout": A_WEEK},
    )
    def accuse(self) -> str:
        """Ask the reader."""
        return parse(self.state.draft).accusation()

    @listen("yes")
    def keep(self) -> str:
        """Return the screenplay as it is."""
        return self.state.draft

    @listen("no")
    def accuse_another(self) -> str:
        """Have the author find another murderer; nobody is asked again."""
        murderer = parse(self.state.draft).murderer
        return self._write(f"A reader says that {murderer} is not the murderer. Choose another one, and let it fit.")

    def _write(self, wish: str) -> str:
        """Have the author write the draft again, at most three times until it can be drawn."""
        trouble = ""
        for _ in range(3):
            prompt = f"{wish}\n{trouble}\nWrite it again, in this format:\n{FORMAT}\n\nThe draft:\n\n{self.state.draft}"
            text = str(author(self.state.story).kickoff(prompt).raw)
            try:
                parse(text)
            except ScreenplayError as error:
                trouble = f"What you wrote last cannot be drawn: {error}."
            else:
                self.state.draft = text
                break
        return self.state.draft


def make_revision() -> Revision:
    """Return a new flow, which draws no panels on the terminal of its worker: its events are what is shown."""
    set_suppress_console_output(True)
    return Revision()
