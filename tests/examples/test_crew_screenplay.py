"""The screenplay of the crew: what agents write is read as they write it, and refused with what is to be changed."""

from __future__ import annotations

import re

import pytest

from examples.comic.layout import lay_out
from examples.comic.script import parse_script
from examples.crew import replies
from examples.crew.model_server import Call
from examples.crew.screenplay import LINES, SUSPECTS, ScreenplayError, parse, stage


def test_a_screenplay_becomes_a_script_with_its_words() -> None:
    script = parse_script(stage(parse(replies.REVISED), "The Last Cup"))
    assert (script.title, script.mystery["killer"], len(script.mystery["clues"])) == ("The Last Cup", "Hale", 3)
    said = [[f"{line.speaker}: {line.text}" for line in panel.dialogue] for panel in script.panels]
    assert said == [[line] for line in parse(replies.REVISED).lines]
    assert said[5] == ["Quill: Clipped at Ashby Halt, Thursday, a quarter past nine. London is far from there."]


@pytest.mark.parametrize("murderer", SUSPECTS)
def test_whoever_is_the_murderer_can_be_drawn(murderer: str) -> None:
    script = parse_script(stage(parse(replies.DRAFT.replace("Murderer: Hale", f"Murderer: {murderer}")), "{4}"))
    assert script.title == "{4}"
    assert script.panels[6].who == [murderer]
    for scene in script.scenes:
        assert len(lay_out(scene.panels)) == LINES // 2


@pytest.mark.parametrize("text", [replies.DRAFT, replies.REVISED, replies.ANOTHER])
def test_what_the_scripted_model_writes_can_be_staged(text: str) -> None:
    assert len(parse(text).lines) == LINES


def test_what_models_like_to_add_is_ignored() -> None:
    decorated = re.sub(r"^(\d)\. (\w+): (.*)$", r'\1. **\2:** "\3"', replies.DRAFT, flags=re.MULTILINE)
    decorated = f"Here is your screenplay!\n\n{decorated.replace('Murderer: Hale', '**Murderer:** Hale.')}\n\nEnjoy."
    assert parse(decorated) == parse(replies.DRAFT)


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("Murderer: Hale", "Murderer: Bell", "the murderer is 'Bell', and must be one of Clara, Hale, Pike"),
        ("Murderer: Hale", "", "there is no line 'Murderer: …'"),
        ("Weapon:", "Tool:", "there is no line 'Weapon: …'"),
        ("4. Pike:", "Pike:", "line 4 is missing: there are 8"),
        ("4. Pike:", "4. Nobody:", "line 4 is said by 'Nobody', who is not in the cast"),
        ("4. Pike: I", "4. Pike: " + "so " * 40 + "I", "at most 110 fit in a balloon"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_what_to_change(before: str, after: str, says: str) -> None:
    with pytest.raises(ScreenplayError, match=re.escape(says)):
        parse(replies.DRAFT.replace(before, after))


def test_the_scripted_model_answers_as_the_agent_that_asks() -> None:
    def ask(text: str, *results: str, **body: object) -> object:
        messages = [{"role": "system", "content": text}, *({"role": "tool", "content": one} for one in results)]
        answer = replies.reply(Call({"messages": messages, **body}, 1))
        return answer.tools or answer.text

    assert ask("You are Plotter.") == replies.PLOT
    assert ask("You are Investigator.") == [("alibi_of", {"name": "Hale"})]
    assert ask("You are Investigator.", "In London.") == replies.CLUES
    assert ask("You are Editor.") == replies.NOTES
    assert ask("You are Author.") == replies.DRAFT
    assert ask("You are Author. Verdict: revise") == replies.REVISED
    assert ask("You are Author. A reader says that Hale is not the murderer.") == replies.ANOTHER
    schema = {"response_format": {"json_schema": {"schema": {"type": "object"}}}}
    assert ask("Feedback: no", **schema) == '{"outcome": "no"}'
    assert ask("Feedback: yes", **schema) == '{"outcome": "yes"}'
