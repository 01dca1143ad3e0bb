"""Exit codes tell scripts what happened, and every failure says how to mend it."""

from __future__ import annotations

import json

import pytest

from tests.cli.support import Shell

DB = "--db jobs.db"

DEEP = "[" * 5000 + "]" * 5000


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (f"{DB} jobs list", 0, ""),
        (f"{DB} jobs result panel_bad", 1, "failed after 1 attempt"),
        (f"{DB} jobs result later", 6, "--wait waits for it"),
        (f"{DB} jobs result page", 1, "was skipped because 'panel_bad'"),
        ("jbs list", 2, "Did you mean 'jobs'?"),
        ("jobs lst", 2, "Did you mean 'list'?"),
        ("jobs list --stat failed", 2, "--status"),
        ("daemon start --slots 3", 2, "Did you mean '--num-workers'?"),
        ("jobs list --path jobs.db", 2, "Did you mean '--db'?"),
        ("jobs list --func app:add", 2, "Did you mean '--function'?"),
        (f"{DB} jobs list --status done", 2, "'completed'"),
        (f"{DB} jobs show panel_x", 3, "did you mean"),
        (f"{DB} jobs show x", 3, "there is no job 'x'"),
        (f"{DB} jobs show x", 3, "4 characters or more"),
        (f"{DB} jobs show plo", 3, "an id prefix needs at least 4 characters; ids with this prefix: plot"),
        (f"{DB} jobs cancel pan", 3, "ids with this prefix: panel_0, panel_1, panel_2, panel_bad"),
        (f"{DB} jobs submit app:add --arg a=1 --id plot", 6, "asyncjobs --db jobs.db jobs show plot"),
        (f"{DB} jobs result later --wait --timeout 0.2s", 5, "asyncjobs --db jobs.db jobs cancel later"),
        (f"{DB} jobs result panel_bad", 1, "→ asyncjobs --db jobs.db jobs retry panel_bad"),
        ("--db missing.db jobs list", 3, "there is no store at ./missing.db yet"),
        ("--db app.py jobs list", 2, "is not an SQLite database"),
        ("--db . jobs list", 2, "folder"),
        (f"{DB} jobs cancel plot", 6, "plot is already completed; only pending and running jobs can be cancelled"),
        (f"{DB} jobs retry plot", 6, "only a failed or cancelled job can be retried"),
        (f"{DB} jobs cancel", 2, "give at least one job id"),
        (f"{DB} jobs cancel --group noir", 3, "no jobs to cancel"),
        (f"{DB} jobs retry --failed", 2, "pass --yes"),
        (f"{DB} jobs submit app:ad", 2, "did you mean 'add'?"),
        (f"{DB} jobs submit ap:add", 2, "module 'ap' cannot be imported"),
        (f"{DB} jobs submit app:add --arg c=1", 6, "add() has no parameter 'c'"),
        (f"{DB} jobs submit app:add --args [1", 2, "--args is not valid JSON"),
        pytest.param(f"{DB} jobs submit app:add --args {DEEP}", 2, "--args is nested too deep", id="deep-args"),
        pytest.param(f"{DB} jobs submit app:add --arg a={DEEP}", 2, "--arg a is nested too deep", id="deep-arg"),
        (rf'{DB} jobs submit app:add --args {{"a":["\ud83d"]}}', 2, "--args: $.a[0] has a lone surrogate"),
        (rf'{DB} jobs submit app:add --arg a="\udc00"', 2, "--arg a: $ has a lone surrogate"),
        (f"{DB} jobs submit app:add --arg a=\udcff", 2, "--arg a is not UTF-8 at character 0"),
        (f"{DB} jobs submit app:add --arg a=1 --id plot", 6, "a job with the id 'plot' exists already"),
        (f"{DB} groups watch noir --timeout soon", 2, "'soon' is not a duration"),
        (f"{DB} jobs watch --group noir --timeout soon", 2, "'soon' is not a duration"),
        (f"{DB} jobs result plot --timeout soon", 2, "'soon' is not a duration"),
        (f"{DB} jobs submit app:add --arg a=1 --delay soon", 2, "use 30s, 5m, 2h or 1d"),
        (f"{DB} jobs submit app:add --arg a=1 --after nobody", 3, "there is no job 'nobody'"),
        (f"{DB} events tail --no-follow --after x1", 2, "is not a cursor"),
        ("daemon status", 3, "--allow"),
        ("daemon stop", 3, "daemon 'default' is not running"),
        ("daemon start", 2, "this daemon has nothing to run: no application and no allowed modules are configured"),
        ("--app app:nope daemon start", 2, "has no 'nope'"),
        ("--app app:add daemon start", 2, "app:add is not a JobProcessor"),
        ("--config missing.toml config show", 2, "there is no configuration file 'missing.toml'"),
        ("daemon start --num-workers 0 --allow app", 2, "daemon.num_workers cannot be 0 (from the flag --num-workers)"),
        ("web --host 0.0.0.0", 2, "everyone who reaches 0.0.0.0 would have access"),
    ],
)
def test_every_failure_has_its_code_and_its_mend(finished: Shell, command: str, code: int, said: str) -> None:
    ran = finished.run(*command.split())
    assert said in ran.err + ran.out
    assert ran.code == code, ran.err
    assert "Traceback" not in ran.err


def test_failures_are_json_where_a_program_reads(finished: Shell) -> None:
    ran = finished.run("--json", "--db", "jobs.db", "jobs", "show", "plott")
    assert ran.code == 3
    assert ran.out == ""
    assert json.loads(ran.err) == {
        "code": "job-not-found",
        "detail": "there is no job 'plott'",
        "exit_code": 3,
        "hint": "did you mean 'plot'? Ids are case-sensitive.",
    }


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        ("jobs list --json --status done", "Invalid value for '--status': 'done' is not one of 'pending'"),
        ("jobs list --json --statu x", "No such option '--statu'. Did you mean '--status'?"),
        ("jobs list --statu x --json", "No such option '--statu'. Did you mean '--status'?"),
        ("--json jbos list", "No such command 'jbos'. Did you mean 'jobs'?"),
        ("jobs lst -o json", "No such command 'lst'. Did you mean 'list'?"),
        ("--jsn -qo ndjson", "No such option '--jsn'. Did you mean '--json'?"),
        ("jobs show --output=json", "Missing argument 'JOB'."),
        ("jobs list -ojson --limit x", "Invalid value for '-n' / '--limit': 'x' is not a valid"),
        ("daemon start --json --num-workers x", "Invalid value for '--num-workers'"),
    ],
)
def test_so_are_those_of_the_line_itself(finished: Shell, line: str, detail: str) -> None:
    ran = finished.run(*line.split())
    problem = json.loads(ran.err)
    assert problem["detail"].startswith(detail)
    assert (ran.code, problem["code"], problem["exit_code"], ran.out) == (2, "usage", 2, "")


@pytest.mark.parametrize("line", ["jobs list --statu x", "jobs show -- --json x", "jobs list -o table --status x"])
def test_for_people_they_are_the_usage(finished: Shell, line: str) -> None:
    ran = finished.run(*line.split())
    assert ran.err.startswith("Usage: asyncjobs jobs")
    assert ran.code == 2


def test_a_reader_that_has_seen_enough_is_no_error(finished: Shell) -> None:
    import subprocess

    command = " ".join(finished.arguments("--db", "jobs.db", "events", "tail", "--no-follow", "--after", "0"))
    done = subprocess.run(
        f"{command} | head -n 1",
        shell=True,
        cwd=finished.folder,
        env=finished.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (len(done.stdout.splitlines()), done.stderr) == (1, "")
