"""Every command of the command line on a store in SQS and DynamoDB: what it gives on a file, or a clear refusal.

One script of commands is run on a file and on AWS, and what came of each is compared. A command that the script does
not have fails here, so a new one is tried on AWS, too.
"""

from __future__ import annotations

import json
import re
import signal
import time
import urllib.request
from collections.abc import Sequence

import anyio
import pytest

from asyncjobs import JobProcessor, SQLiteConfig
from asyncjobs.cli.main import root
from asyncjobs.config import BackendConfig
from tests.cli.inside import commands
from tests.cli.sqs_support import OnAWS
from tests.cli.support import Ran, Shell

pytestmark = [pytest.mark.slow, pytest.mark.untraced, pytest.mark.timeout(600)]

Line = tuple[str, ...]

SCRIPT: tuple[Line, ...] = (
    ("version",),
    ("completion", "bash"),
    ("config", "init"),
    ("config", "validate"),
    ("jobs", "submit", "app:add", "--args", "[1]", "--id", "sum", "--group", "sums"),
    ("jobs", "submit", "app:add", "--args", "[2]", "--id", "more", "--group", "sums", "--after", "sum"),
    ("jobs", "submit", "app:fail", "--args", '["no ink"]', "--id", "bad", "--max-retries", "0", "--group", "sums"),
    ("jobs", "submit", "app:talk", "--id", "chat"),
    ("jobs", "submit", "app:slow", "--id", "late", "--delay", "1h"),
    ("--json", "jobs", "submit", "app:add", "--args", "[1]", "--id", "sum"),
    ("jobs", "submit", "app:add", "--id", "lost", "--after", "nothing"),
    ("jobs", "list", "--oldest"),
    ("jobs", "list", "--open-gates", "--oldest"),
    ("jobs", "show", "ask1"),
    ("jobs", "show", "more"),
    ("jobs", "show", "nothing"),
    ("jobs", "cancel", "late", "--yes"),
    ("jobs", "answer", "ask1", "yes"),
    ("jobs", "answer", "ask1", "no"),
    ("jobs", "reject", "ask2", "--reason", "too dark"),
    ("daemon", "status"),
    ("daemon", "stop"),
    ("daemon", "start", "-d"),
    ("daemon", "start", "-d"),
    ("jobs", "result", "more", "--wait", "--timeout", "60s"),
    ("jobs", "result", "chat", "--wait", "--timeout", "60s"),
    ("jobs", "result", "bad", "--wait", "--timeout", "60s"),
    ("jobs", "submit", "app:add", "--args", "[20, 22]", "--id", "now", "--wait"),
    ("jobs", "watch", "sum", "--timeout", "60s"),
    ("jobs", "logs", "chat"),
    ("groups", "watch", "sums", "--timeout", "60s"),
    ("groups", "list"),
    ("groups", "show", "sums"),
    ("groups", "show", "nothing"),
    ("dag", "show", "sums"),
    ("dag", "show", "more", "--format", "mermaid"),
    ("jobs", "list", "--status", "failed"),
    ("--json", "jobs", "list", "--group", "sums", "--oldest"),
    ("--json", "jobs", "show", "bad"),
    ("events", "tail", "--job", "sum", "--after", "0", "--no-follow"),
    ("events", "tail", "--job", "ask2", "--after", "0", "--no-follow"),
    ("jobs", "retry", "bad", "--yes"),
    ("jobs", "result", "bad", "--wait", "--timeout", "60s"),
    ("daemon", "status"),
    ("daemon", "logs"),
    ("daemon", "restart"),
    ("daemon", "stop"),
    ("daemon", "stop"),
    ("jobs", "rm", "late", "--yes"),
    ("jobs", "rm", "--group", "sums", "--yes"),
    ("jobs", "list", "--oldest"),
    ("doctor",),
    ("daemon", "unit", "systemd"),
    ("daemon", "unit", "docker"),
    ("daemon", "unit", "k8s"),
    ("demo", "--jobs", "10", "--fail", "0"),
    ("bench", "--jobs", "100"),
    ("config", "show", "--origin"),
    ("explain", "disk-full"),
    ("backup", "copy.db"),
    ("compact",),
    ("legacy", "import", "old.db"),
    ("legacy", "export", "old.db"),
    ("aws", "init"),
    ("aws", "template"),
    ("aws", "policy", "--for", "worker"),
    ("web",),
)
OWN: dict[Line, tuple[int, str]] = {
    ("config", "validate"): (0, r"the configuration is valid \(./asyncjobs.toml, 8 settings given\)"),
    ("config", "show"): (0, r'sqs.table += "test-\w+"  # \S+/asyncjobs.toml'),
    ("doctor",): (0, r"configuration: ./asyncjobs.toml\n(.*\n)*all is well"),
    ("backup",): (2, r"backup is for stores in files; this is DynamoDB table .*\n.* point-in-time recovery"),
    ("compact",): (2, r"compact is for stores in files; this is DynamoDB table .*\n.* removed jobs take no space"),
    ("legacy", "import"): (2, r"import is for stores in files; this is DynamoDB table .*\n.* --db"),
    ("legacy", "export"): (2, r"export is for stores in files; this is DynamoDB table .*\n.* --db"),
    ("aws", "init"): (0, r"everything exists already: DynamoDB table"),
    ("aws", "template"): (0, r'"AWS::DynamoDB::Table"'),
    ("aws", "policy"): (0, r'"dynamodb:UpdateItem"'),
}
"""What is not the same as on a file: the exit code on AWS, and a part of the output there."""
ALIKE: dict[Line, str] = {
    ("bench",): r"round trip, median +[\d.]+ ms(.*\n)+one batch +[\d,]+ jobs/s",
    ("daemon", "logs"): r"daemon 'default' is ready: pid \d+, (.*\n)*.*job 'more' completed",
    ("daemon", "status"): r"default  (running  pid \d+ · .*\n  slots \d+/32   pending 0 |not running)",
    ("daemon", "unit"): r"asyncjobs.* daemon start|-m.,.asyncjobs.*daemon.,.start",
    ("demo",): r"10 completed, 0 failed in ",
}
"""What depends on how long things took, or on the place of the store: the same exit code, and this in both outputs."""
UNORDERED = {("groups", "watch")}
"""What shows jobs in the order in which they happened to end."""


COMMANDS = sorted(commands(root))


def command_of(line: Line) -> Line:
    words = [word for word in line if not word.startswith("-")]
    return next(tuple(words[:count]) for count in (1, 2) if tuple(words[:count]) in COMMANDS)


Played = Sequence[tuple[Line, Ran]]
_APART = 1.2
"""Seconds between two submissions, so that they have the same order in both stores: processes order their jobs by the
time of AWS, which its answers give in whole seconds."""


def play(shell: Shell, config: BackendConfig) -> Played:
    """Run the script."""

    async def ask() -> None:
        async with JobProcessor(config, enable_daemon=False) as jp:
            await jp.submit_gate("Print?", choices=["yes", "no"], job_id="ask1")
            await jp.submit_gate("Dark enough?", job_id="ask2")

    shell.good("jobs", "submit", "app:add", "--args", "[0]", "--id", "first")
    time.sleep(_APART)
    anyio.run(ask)
    time.sleep(_APART)
    ran: list[tuple[Line, Ran]] = []
    for line in SCRIPT:
        ran.append((line, serve(shell) if line == ("web",) else shell.run(*line, timeout=100)))
        if "submit" in line:
            time.sleep(_APART)
    return ran


def serve(shell: Shell) -> Ran:
    """Ask a server for a job, and stop it."""
    with shell.start("web", "--port", "0") as server:
        try:
            assert server.stderr is not None
            address = next(found for line in server.stderr if (found := re.search(r"http://\S+/v1/", line)))
            with urllib.request.urlopen(f"{address[0]}jobs/now", timeout=30) as answer:
                job = json.load(answer)
            server.send_signal(signal.SIGTERM)
            code = server.wait(30)
            return Ran(code, json.dumps(job), "")
        finally:
            server.kill()


@pytest.fixture(scope="module")
def on_file(tmp_path_factory: pytest.TempPathFactory) -> Played:
    shell = Shell(tmp_path_factory.mktemp("file"))
    (shell.folder / "asyncjobs.toml").write_text('[daemon]\nallowed_modules = ["app"]\n')
    return play(shell, SQLiteConfig(db_path=shell.folder / "asyncjobs.db"))


@pytest.fixture(scope="module")
def on_aws(tmp_path_factory: pytest.TempPathFactory) -> Played:
    shell = OnAWS(tmp_path_factory.mktemp("aws"))
    return play(shell, shell.config)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_gives_on_aws_what_it_gives_on_a_file(command: Line, on_file: Played, on_aws: Played) -> None:
    lines = [(line, there, here) for (line, there), (_, here) in zip(on_file, on_aws, strict=True)]
    tried = [(line, there, here) for line, there, here in lines if command_of(line) == command]
    assert tried, "a new command: put a line of it into SCRIPT"
    for line, there, here in tried:
        assert "Traceback" not in here.err, f"{line}: {here.err}"
        if command in OWN:
            code, part = OWN[command]
            assert here.code == code, f"{line}: {here}"
            assert re.search(part, here.out + here.err), f"{line}: {here}"
            continue
        assert here.code == there.code, f"{line}: {here}"
        if command in ALIKE:
            for ran in (here, there):
                assert re.search(ALIKE[command], ran.out + ran.err), f"{line}: {ran}"
            continue
        assert plain(here.out, command) == plain(there.out, command), line
        assert plain(here.err, command) == plain(there.err, command), line


DIFFERING = (
    (r"\x1b\[[\d;]*m", ""),
    (r"DynamoDB table '[^']*' in us-east-1 at http://[\d.:]+|\./asyncjobs\.db", "STORE"),
    (r"default-[0-9a-f]{12}\.log", "LOG"),
    (r'\\?"?/[^"\s,]*/app\.py', "app.py"),
    (r"\bw\d+(-[0-9a-f]{8})?\b", "WORKER"),
    (r"\bvm-\d+|\b[\w.-]+-\d{3,}\b", "NAME"),
    (r"\d{4}-\d\d-\d\d[T ][\d:.]+(Z|\+00:00)?", "MOMENT"),
    (r"\b(\d+[dhm] )?\d+(\.\d+)?(ms|s|m|h|d)\b", "DURATION"),
    (r"\d+", "#"),
    (r" +", " "),
)
"""What differs between any two runs."""


def plain(text: str, command: Line) -> list[str]:
    """Return the lines of an output without what differs between any two runs."""
    for pattern, instead in DIFFERING:
        text = re.sub(pattern, instead, text)
    lines = text.splitlines()
    return sorted(lines) if command in UNORDERED else lines
