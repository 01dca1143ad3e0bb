"""The command line on a store in SQS and DynamoDB: what it does on a file, and what only a file has."""

from __future__ import annotations

import json
import os
from pathlib import Path
from uuid import uuid4

import pytest

from asyncjobs.config import SQSConfig
from tests import sqs_server
from tests.cli.support import Shell

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


class OnAWS(Shell):
    """A folder whose settings name a table of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.endpoint = sqs_server.endpoint()
        self.table = f"test-{uuid4().hex[:12]}"
        settings = {"queue_url": self.table, "table": self.table, "region": "us-east-1", "endpoint_url": self.endpoint}
        lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
        sqs = "\n".join(["[sqs]", "create = true", "wait_time = 1", *lines])
        (folder / "asyncjobs.toml").write_text(f'backend = "sqs"\n\n{sqs}\n\n[daemon]\nallowed_modules = ["app"]\n')
        self.config = SQSConfig(**settings)
        self.environment |= {name: os.environ[name] for name in sqs_server.CREDENTIALS}


@pytest.fixture
def shell(tmp_path: Path) -> OnAWS:
    return OnAWS(tmp_path)


def test_jobs_are_submitted_looked_at_and_cancelled(shell: OnAWS) -> None:
    shell.good("jobs", "submit", "app:add", "--args", "[1]", "--id", "sum", "--group", "sums")
    assert [job["id"] for job in shell.good("--json", "jobs", "list").json["items"]] == ["sum"]
    shown = shell.good("jobs", "show", "sum").out
    assert "why        no worker is alive: asyncjobs daemon start -d" in shown
    assert shell.good("--json", "groups", "list").json["items"][0]["group"] == "sums"
    shell.good("dag", "show", "sum")
    shell.good("jobs", "cancel", "sum", "--yes")
    assert shell.good("--json", "jobs", "show", "sum").json["status"] == "cancelled"
    shell.good("jobs", "rm", "sum", "--yes")
    assert shell.good("--json", "jobs", "list").json["items"] == []
    assert not list(shell.folder.glob("*.db"))


@pytest.mark.parametrize("arguments", [("backup", "copy.db"), ("compact",)])
def test_what_is_for_files_refuses(shell: OnAWS, arguments: tuple[str, ...]) -> None:
    ran = shell.run(*arguments)
    assert (ran.code, "is for stores in files; this is DynamoDB table" in ran.err) == (2, True)
    assert "point-in-time recovery" in ran.err


def test_an_endpoint_that_refuses_is_an_exit_code(shell: OnAWS) -> None:
    away = {"ASYNCJOBS_SQS_ENDPOINT_URL": "http://127.0.0.1:9"}
    ran = shell.run("jobs", "list", **away)
    assert (ran.code, "could not be reached" in ran.err) == (4, True)
    assert shell.run("daemon", "status", **away).code == 3
    assert "the store cannot be opened" in shell.run("doctor", **away).out


def test_a_service_file_carries_what_names_the_store(shell: OnAWS) -> None:
    (shell.folder / "asyncjobs.toml").unlink()
    named = {"ASYNCJOBS_BACKEND": "sqs", "ASYNCJOBS_SQS_TABLE": shell.table, "AWS_DEFAULT_REGION": "eu-west-1"}
    text = shell.good("daemon", "unit", "systemd", "--allow", "app", **named).out
    assert [line for line in text.splitlines() if line.startswith("Environment=")] == [
        "Environment=ASYNCJOBS_BACKEND=sqs",
        f"Environment=ASYNCJOBS_SQS_TABLE={shell.table}",
        "Environment=AWS_DEFAULT_REGION=eu-west-1",
    ]
    assert "AWS_SECRET" not in text
    assert "volume" not in shell.good("daemon", "unit", "docker", "--allow", "app", **named).out
    assert "kind: Deployment" in shell.good("daemon", "unit", "k8s", "--allow", "app", **named).out


def test_what_is_missing_is_made_once(shell: OnAWS) -> None:
    only = {"ASYNCJOBS_SQS_CREATE": "false"}
    refused = shell.run("jobs", "list", **only)
    assert (refused.code, "it does not exist" in refused.err, "'asyncjobs aws init'" in refused.err) == (4, True, True)
    planned = shell.good("aws", "init", "--dry-run", **only)
    assert planned.lines[0] == f"DynamoDB table '{shell.table}' with the indexes work, list, log"
    assert "nothing was made; this is done by:  asyncjobs aws init" in planned.err
    assert shell.run("jobs", "list", **only).code == 4, "a dry run makes nothing"
    assert shell.good("aws", "init", **only).out == planned.out
    again = shell.good("aws", "init", **only)
    assert (again.out, "everything exists already" in again.err) == ("", True)
    assert shell.good("--json", "aws", "init", **only).json == {"schema": 1, "dry_run": False, "made": []}
    assert shell.good("--json", "jobs", "list", **only).json["items"] == []


def test_the_template_and_the_policies_name_what_the_settings_name(shell: OnAWS) -> None:
    template = json.loads(shell.good("aws", "template").out)
    assert shell.table in json.dumps(template["Resources"])
    for role in ("worker", "submitter", "reader"):
        policy = shell.good("aws", "policy", "--for", role)
        assert policy.out.count("\n") > 10, "for people to read"
        document = json.loads(policy.out)
        assert document == shell.good("--json", "aws", "policy", "--for", role).json
        assert f"table/{shell.table}" in json.dumps(document["Statement"])
