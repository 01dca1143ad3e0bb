"""Type checkers know the results of jobs: pyright and mypy agree with ``signatures``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.untraced  # type checkers, and not the package

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def judged(*command: str) -> str:
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, timeout=300)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_pyright_knows_what_jobs_return() -> None:
    assert judged("pyright", "-p", str(HERE), "--pythonpath", sys.executable) == ""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_mypy_knows_what_jobs_return() -> None:
    assert judged("mypy", "--strict", "--follow-imports=silent", str(HERE / "signatures.py")) == ""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_false_promise_is_found(tmp_path: Path) -> None:
    """Else the tests above could not fail."""
    source = (HERE / "signatures.py").read_text()
    wrong = source.replace(
        'submit_job(count, "x", group="g"), JobHandle[int]', 'submit_job(count, "x"), JobHandle[str]'
    )
    assert wrong != source
    (tmp_path / "wrong.py").write_text(wrong)
    assert "JobHandle[str]" in judged("mypy", "--strict", "--follow-imports=silent", str(tmp_path / "wrong.py"))
