"""The crew that writes the story of a comic. Imported where it is run, and CrewAI with it."""

# Without "from __future__ import annotations": CrewAI reads the annotations of guardrails.

import json
import os
from typing import Any

from crewai import LLM, Agent, Crew, Task

from .planner import script_of
from .script import PLACES, SHOTS, ScriptError, parse_script

MODEL = os.environ.get("MODEL", "openai/gpt-4o-mini")
FORMAT = f"""\
{{"motive": "…", "weapon": "…", "scenes": [{{"title": "…", "place": one of {", ".join(PLACES)},
 "lead": a character, "panels": [{{"shot": one of {", ".join(shot for shot in SHOTS if shot != "detail")},
 "who": [at most two characters; over_shoulder needs two], "action": "…",
 "dialogue": ["Character: at most 110 letters"]}}]}}]}}
Four to eight scenes of two to five panels. Spaces in names are written as "_"."""


def make_writers(request: dict[str, Any]) -> Crew:
    """Return the crew: one thinks of how it happened, one writes the panels."""

    def is_story(output: Any) -> tuple[bool, Any]:
        """Have the author write again what could not be drawn: CrewAI hands the reason back."""
        try:
            parse_script(script_of(output.raw, request))
        except ScriptError as error:
            return False, f"{error}. The format is:\n{FORMAT}"
        return True, output.raw

    llm = LLM(model=MODEL, stream=True)
    plotter = Agent(
        role="Plotter", goal="think of a murder that has a reason", backstory="You have written forty.", llm=llm
    )
    author = Agent(role="Author", goal="write comics", backstory="You waste no panel, and no word.", llm=llm)
    facts = json.dumps({"constraints": request["constraints"], "characters": request["characters"]}, ensure_ascii=False)
    plot = Task(
        name="The plot",
        description=f"A mystery that obeys these constraints. How did it happen, and how is it found out?\n{facts}",
        expected_output="three paragraphs",
        agent=plotter,
    )
    story = Task(
        name="The story",
        description=f"Write the comic of it as JSON, with nothing around it:\n{FORMAT}",
        expected_output="the JSON",
        agent=author,
        context=[plot],
        guardrail=is_story,
    )
    return Crew(name="Writers", agents=[plotter, author], tasks=[plot, story])
