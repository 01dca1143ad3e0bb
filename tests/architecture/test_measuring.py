"""Coverage is measured where it is to be: of a test that is not marked, and never twice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.measuring import CHILDREN, first_measured, on_stores, untraced

ROOT = Path(__file__).parents[2]
SUITE = """
import subprocess, sys
import pytest
import measured_module

@pytest.mark.untraced
def test_unmeasured():
    measured_module.unmeasured()
    subprocess.run([sys.executable, "-c", "import measured_module as m; m.unmeasured_child()"], check=True)

def test_measured():
    measured_module.measured()
    subprocess.run([sys.executable, "-c", "import measured_module as m; m.measured_child()"], check=True)

@pytest.mark.untraced
def test_unmeasured_in_the_end():
    measured_module.unmeasured()

@pytest.mark.untraced
def test_unmeasured_once_more():
    subprocess.run([sys.executable, "-c", "import measured_module as m; m.unmeasured_child()"], check=True)
"""
MODULE = "\n".join(
    f"def {name}():\n    return '{name}'\n" for name in ("unmeasured", "unmeasured_child", "measured", "measured_child")
)


@pytest.mark.slow
@pytest.mark.untraced
@pytest.mark.parametrize(
    ("options", "unmeasured"),
    [
        ([], "2, 5"),
        (["-n", "1"], "2, 5"),
        (["--measure=inner", "--measure=other"], "2, 5"),
        (["--measure=other"], "1-7, 10-11"),
    ],
    ids=["in one process", "side by side", "by folders", "by another folder"],
)
def test_lines_count_unless_a_test_is_marked_and_those_of_its_processes_likewise(
    tmp_path: Path, options: list[str], unmeasured: str
) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "test_them.py").write_text(SUITE)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "test_more.py").write_text("import measured_module as m\ndef test_it():\n    m.measured()\n")
    (tmp_path / "measured_module.py").write_text(MODULE)
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    untraced: x\n    first: x\n")
    (tmp_path / ".coveragerc").write_text(
        "[run]\nsource_pkgs = measured_module\npatch = subprocess\n[report]\nshow_missing = true\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--cov", "--cov-report=term-missing", *options],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    [line] = [line for line in done.stdout.splitlines() if line.startswith("measured_module.py")]
    assert line.endswith(f"%   {unmeasured}"), "what no measured test runs"


def test_inside_nothing_is_traced_and_afterwards_all_is_as_it_was() -> None:
    before = type(sys.gettrace()), os.environ.get(CHILDREN)
    with untraced():
        with untraced():
            assert CHILDREN not in os.environ
        assert CHILDREN not in os.environ
    assert (type(sys.gettrace()), os.environ.get(CHILDREN)) == before


def test_of_runs_of_the_same_code_the_first_is_measured() -> None:
    assert [[mark.name for mark in each.marks] for each in first_measured("abc")] == [[], ["untraced"], ["untraced"]]
    stores = on_stores([("asyncio", "memory"), ("trio", "memory")], [("asyncio", "memory")])
    assert [(each.id, [mark.name for mark in each.marks]) for each in stores] == [
        ("memory-asyncio", []),
        ("memory-trio", ["untraced"]),
    ]
