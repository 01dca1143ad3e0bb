"""The command line on a store in SQS and DynamoDB: what it does on a file, and what only a file has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asyncjobs.backends.sqs import clients
from tests import sqs_server
from tests.cli.sqs_support import OnAWS
from tests.faults.doors import Door

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


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


@pytest.mark.parametrize("detached", [(), ("-d",)], ids=["in front", "detached"])
def test_a_daemon_that_is_started_on_a_store_that_is_away_says_so_in_time(
    shell: OnAWS, detached: tuple[str, ...]
) -> None:
    """One call is made, and repeated once, as any: within 10 s if it is refused, within 45 s if no answer comes."""
    address = sqs_server.endpoint()
    if not address:
        pytest.skip("the door stands before an emulator")
    door = Door(address)
    through = {"ASYNCJOBS_SQS_ENDPOINT_URL": door.address}
    try:
        with door.shut():
            ran = shell.run("daemon", "start", *detached, timeout=60, **through)
        assert (ran.code, "could not be reached" in ran.err) == (4, True), ran.err
        with door.swallowing():
            ran = shell.run("daemon", "start", *detached, timeout=90, **through)
        assert (ran.code, "not answered in time" in ran.err) == (4, True), ran.err
        assert door.swallowed == clients.TRIES
    finally:
        door.close()


def test_a_service_file_carries_what_names_the_store(shell: OnAWS) -> None:
    (shell.folder / "asyncjobs.toml").unlink()
    named = {"ASYNCJOBS_BACKEND": "sqs", "ASYNCJOBS_SQS_TABLE": shell.table, "AWS_DEFAULT_REGION": "eu-west-1"}
    named["AWS_PROFILE"] = "jobs"
    text = shell.good("daemon", "unit", "systemd", "--allow", "app", **named).out
    assert [line for line in text.splitlines() if line.startswith("Environment=")] == [
        "Environment=XDG_STATE_HOME=%S",
        "Environment=ASYNCJOBS_BACKEND=sqs",
        f"Environment=ASYNCJOBS_SQS_TABLE={shell.table}",
        "Environment=AWS_DEFAULT_REGION=eu-west-1",
        "Environment=AWS_PROFILE=jobs",
    ]
    assert "AWS_SECRET" not in text
    in_image = [shell.good("daemon", "unit", kind, "--allow", "app", **named).out for kind in ("docker", "k8s")]
    assert not any("AWS_PROFILE" in each or "volume" in each for each in in_image), "a profile is a file of this host"
    assert "kind: Deployment" in in_image[1]


def test_what_is_missing_is_made_once(shell: OnAWS) -> None:
    only = {"ASYNCJOBS_SQS_CREATE": "false"}
    refused = shell.run("jobs", "list", **only)
    assert (refused.code, "it does not exist" in refused.err, "'asyncjobs aws init'" in refused.err) == (4, True, True)
    planned = shell.good("aws", "init", "--dry-run", **only)
    assert planned.lines[0] == f"DynamoDB table '{shell.table}' with the indexes work, list, log"
    assert "nothing was created; to create it:  asyncjobs aws init" in planned.err
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


def test_doctor_looks_at_the_table_and_the_queues(shell: OnAWS) -> None:
    shell.good("jobs", "submit", "app:add", "--args", "[1]")
    ran = shell.run("doctor")
    assert ran.code == 1, "no worker is alive"
    for part in (
        f"table '{shell.table}' is active",
        "the oldest ready job was submitted",
        "messages of queue",
        "is empty",
    ):
        assert part in ran.out


APP = """
from app import add
from asyncjobs import JobProcessor, SQSConfig

jp = JobProcessor(SQSConfig(**{}), functions=[add])
"""


def test_an_application_names_the_store_for_every_command(shell: OnAWS) -> None:
    (shell.folder / "asyncjobs.toml").unlink()
    names = ("table", "queue_url", "region", "endpoint_url")
    settings = {"create": True, "wait_time": 1} | {name: getattr(shell.config, name) for name in names}
    (shell.folder / "shop.py").write_text(APP.format(settings))
    app = ("--app", "shop:jp")
    shell.good(*app, "daemon", "start", "-d")
    try:
        assert shell.good(*app, "jobs", "submit", "app:add", "--args", "[20, 22]", "--wait").out.strip() == "42"
        assert "running" in shell.good(*app, "daemon", "status").out
        assert shell.run(*app, "backup", "copy.db").code == 2
        elsewhere = {"ASYNCJOBS_BACKEND": "sqs", "ASYNCJOBS_SQS_TABLE": "another", "ASYNCJOBS_SQS_REGION": "us-east-1"}
        assert shell.run("daemon", "status", "--check", **elsewhere).code == 3, "a daemon of that name on another store"
    finally:
        shell.good(*app, "daemon", "stop", "--now")


def test_a_state_file_is_named_by_endpoint_region_and_table(shell: OnAWS) -> None:
    here = {"ASYNCJOBS_BACKEND": "sqs", "ASYNCJOBS_SQS_TABLE": shell.table, "AWS_DEFAULT_REGION": "eu-west-1"}
    here["ASYNCJOBS_SQS_ENDPOINT_URL"] = "http://127.0.0.1:9"
    (shell.folder / "asyncjobs.toml").unlink()
    folder = shell.folder / "state" / "asyncjobs"

    def log_of(**changed: str) -> str:
        """Start a daemon that cannot reach its store; its log is named as its state is."""
        before = {path.name for path in folder.glob("*.log")}
        started = shell.run("daemon", "start", "-d", "--allow", "app", **here | changed)
        assert (started.code, "could not be reached" in started.err) == (4, True), started.err
        return next(iter({path.name for path in folder.glob("*.log")} - before), "the same")

    first = log_of()
    assert first.startswith("default-")
    changes = ({"ASYNCJOBS_SQS_ENDPOINT_URL": "http://127.0.0.1:11"}, {"AWS_DEFAULT_REGION": "eu-west-2"})
    others = [log_of(**change) for change in (*changes, {"ASYNCJOBS_SQS_TABLE": "another"})]
    assert len({first, *others}) == 4
    assert log_of() == "the same"
    assert log_of(ASYNCJOBS_SQS_QUEUE_URL="another", AWS_ACCESS_KEY_ID="another") == "the same"
