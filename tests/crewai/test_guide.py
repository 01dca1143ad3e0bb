"""The programs of the guide do what it says of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from asyncjobs import JobProcessor, RetryPolicy
from asyncjobs.integrations.crewai import reports
from tests.architecture.pages import Block, blocks_of, fits, left_out, place, runnable
from tests.crewai import crews
from tests.crewai.conftest import Model

pytestmark = pytest.mark.timeout(120)
GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "crewai.md"


BLOCKS = blocks_of("guides/crewai")


def run(folder: Path, program: Block) -> str:
    """What it prints, without empty lines and what CrewAI draws on the terminal, from threads of its own."""
    (folder / "program.py").write_text(program.text)
    command = [sys.executable, "-W", "ignore", "program.py"]
    ran = subprocess.run(command, cwd=folder, env={**os.environ}, capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stderr
    return filled(re.sub(r"[╭│╰].*", "", ran.stdout))


def filled(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if line.strip())


def test_each_block_of_the_guide_is_run_here() -> None:
    assert [block.kind for block in BLOCKS] == ["python", "text"] * (len(BLOCKS) // 2)
    assert left_out(BLOCKS) == []


@pytest.mark.parametrize("program", runnable(BLOCKS, "python"), ids=place)
def test_a_program_prints_what_the_page_says(program: Block, model: Model, tmp_path: Path) -> None:
    assert program.printed is not None
    printed = run(tmp_path, program)
    if 'event.data["text"], end' in program.text:  # a box of CrewAI may come between two words
        *pieces, counted = printed.splitlines()
        assert re.fullmatch(r"Final Answer: (\w+\.\d ?){5}", "".join(pieces))
        assert len(model.finished()) == 1
        printed = f"{''.join(pieces)}\n{counted}"
    assert fits(filled(program.printed), printed), printed


@pytest.mark.anyio
async def test_a_key_that_is_wrong_is_not_tried_again_by_the_job(jp: JobProcessor, model: Model) -> None:
    [policy] = re.findall(r"`retry=(RetryPolicy\(.*?\)\))`", GUIDE.read_text())
    retry = eval(policy, {"RetryPolicy": RetryPolicy})
    job = await jp.submit_crew_run(crews.one, {"topic": "[[status 401]]"}, retry=retry)
    ended = await jp.wait_for_job(job.id)
    assert (ended.status, ended.attempt) == ("failed", 1)


def test_the_table_of_events_has_every_kind_that_is_emitted() -> None:
    source = Path(reports.__file__).read_text()
    emitted = set(re.findall(r'(?:_output|_flow|_error|_chunk)\("(\w+)"', source))
    table = GUIDE.read_text().partition("## Events")[2].partition("\n- ")[0]
    rows = [row.split("|")[1:3] for row in table.splitlines() if row.startswith("|")]
    documented = {
        kind
        for type_, kinds in rows
        for kind in re.findall(r"`(\w+)`", kinds)
        if "agent_state" not in type_ and kind != "kind"
    }
    assert len(emitted) > 15
    assert documented == emitted
