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
from tests.crewai import crews
from tests.crewai.conftest import Model

pytestmark = pytest.mark.timeout(120)
GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "crewai.md"


def programs() -> list[str]:
    return re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)


def run(folder: Path, program: str) -> list[str]:
    """What it prints, a line at a time; what CrewAI draws on the terminal, from threads of its own, is left out."""
    (folder / "program.py").write_text(program)
    command = [sys.executable, "-W", "ignore", "program.py"]
    ran = subprocess.run(command, cwd=folder, env={**os.environ}, capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stderr
    return [line for line in re.sub(r"[╭│╰].*", "", ran.stdout).splitlines() if line.strip()]


def test_each_program_of_the_guide_is_run_here() -> None:
    tests = Path(__file__).read_text()
    assert [f"programs()[{number}]" in tests for number in range(len(programs()))] == [True] * len(programs())
    assert f"programs()[{len(programs())}]" not in tests


def test_a_crew_streams_its_text_and_counts_its_requests(model: Model, tmp_path: Path) -> None:
    *pieces, counted = run(tmp_path, programs()[0])  # a box of CrewAI may come between two words
    assert re.fullmatch(r"Final Answer: (\w+\.\d ?){5}", "".join(pieces))
    assert counted == "1 request, 1 task"
    assert len(model.finished()) == 1


def test_what_a_flow_returns_is_the_argument_of_the_next_job(model: Model, tmp_path: Path) -> None:
    assert run(tmp_path, programs()[1])[-1] == "printed: the story of a plot about fog"


def test_a_body_of_its_own_is_captured(model: Model, tmp_path: Path) -> None:
    assert run(tmp_path, programs()[2])[-1] == "True 1"


def test_the_answer_of_a_durable_model_is_a_step(model: Model, tmp_path: Path) -> None:
    assert run(tmp_path, programs()[3])[-1] == "True 1"


def test_a_flow_asks_through_a_gate(model: Model, tmp_path: Path) -> None:
    asked, result = run(tmp_path, programs()[4])
    assert asked == "['Is this the murderer?', '', 'Dr. Hale'] ['yes', 'no']"
    assert result == "case closed"


def test_the_environment_is_what_is_recommended(tmp_path: Path) -> None:
    [printed] = run(tmp_path, programs()[5])
    assert printed == "{'CREWAI_DISABLE_TELEMETRY': 'true', 'CREWAI_TRACING_ENABLED': 'false'}"


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
