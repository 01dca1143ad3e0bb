"""``asyncjobs aws``: what is made on AWS, or printed for those who make it in another way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from asyncjobs import BackendConnectionError, SQSConfig
from tests.cli.inside import Inside

SQS = "backend = 'sqs'\n\n[sqs]\ntable = 'jobs'\nregion = 'eu-west-1'\n"


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inside:
    inside = Inside(tmp_path, monkeypatch, app="app_on_aws")
    (tmp_path / "asyncjobs.toml").write_text(SQS)
    return inside


class Recorded:
    """Stands for what makes things on AWS: what it was asked for, and what it answers."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[tuple[SQSConfig, bool]] = []

    async def create(self, config: SQSConfig, *, dry_run: bool) -> Any:
        self.asked.append((config, dry_run))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def recorded(monkeypatch: pytest.MonkeyPatch, answer: Any) -> Recorded:
    made = Recorded(answer)
    monkeypatch.setattr("asyncjobs.cli.aws.create_on_aws", made.create)
    return made


def test_what_is_made_is_listed(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    made = recorded(monkeypatch, ["table 'jobs'", "queue 'asyncjobs'"])
    ran = inside.good("aws", "init")
    assert ran.out == "table 'jobs'\nqueue 'asyncjobs'\n"
    assert "ready: DynamoDB table 'jobs' in eu-west-1" in ran.err
    assert made.asked == [(SQSConfig(table="jobs", region="eu-west-1"), False)]


def test_a_dry_run_says_how_it_is_done(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    made = recorded(monkeypatch, ["table 'jobs'"])
    ran = inside.good("--config", "asyncjobs.toml", "aws", "init", "--dry-run")
    assert ran.out == "table 'jobs'\n"
    assert "nothing was created; to create it:  asyncjobs --config asyncjobs.toml aws init" in ran.err
    assert [dry for _, dry in made.asked] == [True]
    document = inside.good("--json", "aws", "init", "--dry-run").json
    assert document == {"schema": 1, "dry_run": True, "made": ["table 'jobs'"]}


def test_what_exists_is_left(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded(monkeypatch, [])
    ran = inside.good("aws", "init")
    assert (ran.out, "everything exists already: DynamoDB table 'jobs'" in ran.err) == ("", True)


def test_an_endpoint_that_does_not_answer_has_its_exit_code(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded(monkeypatch, BackendConnectionError("DynamoDB could not be reached", transient=True))
    ran = inside.run("aws", "init")
    assert (ran.code, "could not be reached" in ran.err) == (4, True)


@pytest.mark.parametrize("arguments", [("init",), ("template",), ("policy", "--for", "worker")])
def test_another_kind_of_store_is_refused_with_what_to_set(inside: Inside, arguments: tuple[str, ...]) -> None:
    (inside.folder / "asyncjobs.toml").unlink()
    ran = inside.run("aws", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert "the store is not on AWS, but ./asyncjobs.db" in ran.err
    assert "ASYNCJOBS_BACKEND=sqs" in ran.err


def test_a_policy_is_for_a_known_role(inside: Inside) -> None:
    assert inside.run("aws", "policy").code == 2
    ran = inside.run("aws", "policy", "--for", "admin")
    assert (ran.code, "'worker', 'submitter', 'reader'" in ran.err) == (2, True)
