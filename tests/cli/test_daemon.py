"""The daemon as a process: started, fed, drained, killed, started again."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.cli.support import PATIENCE, Shell, until

APP = ("--app", "app:jp")
pytestmark = pytest.mark.slow


def pid_of(shell: Shell) -> int:
    return shell.good("--json", *APP, "daemon", "status").json["pid"]


def state_of(shell: Shell, name: str = "default") -> Path:
    [path] = (shell.folder / "state" / "asyncjobs").glob(f"{name}-*.json")
    return path


def status_of(shell: Shell, job: str) -> str:
    return shell.good("--json", *APP, "jobs", "show", job).json["status"]


def hold(shell: Shell, job: str) -> None:
    """Have the daemon run a job, which ends when it is let go."""
    shell.good(*APP, "jobs", "submit", "app:held", "--arg", f"path={shell.folder / 'go'}", "--id", job)
    until(lambda: shell.stored(job) == "in_progress")


def let_go(shell: Shell) -> None:
    (shell.folder / "go").touch()


def test_started_in_the_background_fed_watched_and_stopped(shell: Shell) -> None:
    started = shell.good(*APP, "daemon", "start", "-d")
    assert re.match(r"✔ daemon 'default' ready  pid \d+\n  store  \./jobs.db\n", started.err)
    assert state_of(shell).stat().st_mode & 0o777 == 0o600
    again = shell.good(*APP, "daemon", "start", "-d")
    assert "is already running" in again.err
    assert shell.good(*APP, "jobs", "submit", "app:add", "--arg", "a=4", "--wait").json == 5
    shown = shell.good(*APP, "daemon", "status").out
    assert re.match(r"● default  running  pid \d+ · up [\d.]+s · asyncjobs ", shown)
    assert "completed 1" in shown
    assert "is ready: pid" in shell.good(*APP, "daemon", "logs").out
    log = next((shell.folder / "state" / "asyncjobs").glob("*.log"))
    assert log.stat().st_mode & 0o777 == 0o600
    stopped = shell.good(*APP, "daemon", "stop")
    assert re.search(r"✔ stopped in [\d.]+s\n", stopped.err)
    assert shell.run(*APP, "daemon", "status").code == 3
    assert list((shell.folder / "state" / "asyncjobs").glob("*.json")) == []


def test_one_that_cannot_start_says_why(shell: Shell) -> None:
    (shell.folder / "jobs.db").write_text("not a database, but as long as one would be " * 30)
    ran = shell.run(*APP, "daemon", "start", "-d")
    assert ran.code == 2
    assert "daemon 'default' did not start (exit code 2)" in ran.err
    assert "is not an SQLite database" in ran.err


def test_killed_it_is_dead_and_the_next_one_takes_up_its_jobs(shell: Shell) -> None:
    shell.good(*APP, "daemon", "start", "-d")
    pid = pid_of(shell)
    hold(shell, "nap")
    os.kill(pid, signal.SIGKILL)
    until(lambda: shell.run(*APP, "daemon", "status").code == 1)
    assert state_of(shell).exists()  # nobody was left to remove it
    shell.good(*APP, "daemon", "start", "-d")
    let_go(shell)
    assert shell.good(*APP, "jobs", "result", "nap", "--wait", "--timeout", "30s").json == "let go"
    assert shell.good("--json", *APP, "jobs", "show", "nap").json["interruptions"] == 1


def test_the_first_signal_drains(shell: Shell) -> None:
    daemon = shell.start(*APP, "daemon", "start")
    until(lambda: shell.run(*APP, "daemon", "status", "--check").code == 0)
    hold(shell, "nap")
    daemon.send_signal(signal.SIGTERM)
    assert daemon.stderr is not None
    assert any("draining: 1 running job gets up to" in line for line in daemon.stderr)
    let_go(shell)
    _, said = daemon.communicate(timeout=PATIENCE)
    assert daemon.returncode == 0, said
    assert status_of(shell, "nap") == "completed"


def test_the_second_signal_hands_back_what_runs(shell: Shell) -> None:
    daemon = shell.start(*APP, "daemon", "start")
    until(lambda: shell.run(*APP, "daemon", "status", "--check").code == 0)
    shell.good(*APP, "jobs", "submit", "app:slow", "--id", "nap")
    shell.good(*APP, "jobs", "submit", "app:blocking", "--id", "work")
    until(lambda: shell.stored("nap") == shell.stored("work") == "in_progress")
    daemon.send_signal(signal.SIGINT)
    said: list[str] = []
    assert daemon.stderr is not None
    for line in daemon.stderr:
        said.append(line)
        if "draining" in line:
            break
    began = time.monotonic()
    daemon.send_signal(signal.SIGINT)
    _, rest = daemon.communicate(timeout=PATIENCE)
    assert time.monotonic() - began < 10
    assert "handing back 2 running jobs now" in rest
    for job in ("nap", "work"):
        item = shell.good("--json", *APP, "jobs", "show", job).json
        assert (item["status"], item["interruptions"], item["failures"]) == ("pending", 0, 0)


def test_stop_now_hands_back_at_once(shell: Shell) -> None:
    shell.good(*APP, "daemon", "start", "-d")
    shell.good(*APP, "jobs", "submit", "app:slow", "--id", "nap")
    until(lambda: shell.stored("nap") == "in_progress")
    began = time.monotonic()
    shell.good(*APP, "daemon", "stop", "--now")
    assert time.monotonic() - began < 10
    assert status_of(shell, "nap") == "pending"


def test_a_stop_that_takes_too_long_says_so(shell: Shell) -> None:
    shell.good(*APP, "daemon", "start", "-d")
    shell.good(*APP, "jobs", "submit", "app:slow", "--id", "nap")
    until(lambda: shell.stored("nap") == "in_progress")
    ran = shell.run(*APP, "daemon", "stop", "--timeout", "0.5s")
    assert (ran.code, "is still draining after 0.5s" in ran.err) == (5, True)


MANY = """
import anyio
from asyncjobs import current_job


async def nap():
    await anyio.sleep_forever()


async def fan(jobs):
    for _ in range(jobs):
        await current_job().submit_job(nap)
    await nap()
"""


def test_status_names_the_first_twenty_jobs_that_it_runs_itself_and_counts_the_others(shell: Shell) -> None:
    (shell.folder / "many.py").write_text(MANY)
    daemon = ("--db", "jobs.db", "daemon")
    both = ("--allow", "many", "--num-workers", "30", "-d")
    shell.good(*daemon, "start", *both, "--queue", "default")
    shell.good(*daemon, "start", *both, "--queue", "other", "--name", "second")
    shell.good("--db", "jobs.db", "jobs", "submit", "many:nap", "--queue", "other", "--id", "its")
    shell.good("--db", "jobs.db", "jobs", "submit", "many:fan", "--arg", "jobs=24", "--id", "fan")
    until(lambda: len(shell.good("--json", *daemon, "status").json["running"]) == 25)
    lines = shell.good(*daemon, "status").lines
    assert "slots 25/30" in lines[1]
    assert sum("attempt 1" in line for line in lines) == 20
    assert "  … and 5 more" in lines
    assert shell.good("--json", *daemon, "status", "--name", "second").json["running"] == ["its"]
    others = shell.good(*daemon, "status", "--name", "second").out
    assert ("its" in others, "more" in others) == (True, False)
    for name in ("default", "second"):
        shell.good(*daemon, "stop", "--now", "--name", name)


def test_several_beside_each_other_and_a_restart(shell: Shell) -> None:
    shell.good(*APP, "daemon", "start", "-d")
    shell.good(*APP, "daemon", "start", "-d", "--name", "second", "--num-workers", "1")
    first = pid_of(shell)
    assert shell.good("--json", *APP, "daemon", "status", "--name", "second").json["pid"] != first
    shell.good(*APP, "daemon", "restart")
    assert pid_of(shell) != first
    shell.good(*APP, "daemon", "restart", "--name", "second")
    assert "slots 0/1" in shell.good(*APP, "daemon", "status", "--name", "second").out  # started as it was


def test_without_an_application_it_runs_the_modules_that_are_allowed(shell: Shell) -> None:
    shell.good("--db", "jobs.db", "daemon", "start", "-d", "--allow", "app")
    assert shell.good("--db", "jobs.db", "jobs", "submit", "app:add", "--arg", "a=1", "--wait").json == 2
    shell.good("--db", "jobs.db", "daemon", "stop", "--now")


def test_cancel_reaches_it_from_another_terminal(shell: Shell) -> None:
    shell.good(*APP, "daemon", "start", "-d")
    shell.good(*APP, "jobs", "submit", "app:slow", "--id", "nap")
    until(lambda: shell.stored("nap") == "in_progress")
    assert shell.good(*APP, "jobs", "cancel", "nap").err == "✔ nap asked to stop\n"
    until(lambda: shell.stored("nap") == "cancelled", 5)
    assert shell.good(*APP, "jobs", "retry", "nap").err == "✔ nap pending again\n"


def test_the_system_is_told(shell: Shell) -> None:
    path = shell.folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(PATIENCE)
        daemon = shell.start(*APP, "daemon", "start", NOTIFY_SOCKET=str(path), WATCHDOG_USEC="400000")
        heard: set[str] = set()
        while not {"READY=1", "WATCHDOG=1"} <= heard:
            heard.update(listener.recv(4096).decode().splitlines())
        assert any(re.fullmatch(r"STATUS=\d+ running, \d+ pending|STATUS=ready", line) for line in heard)
        daemon.send_signal(signal.SIGTERM)
        while "STOPPING=1" not in heard:
            heard.update(listener.recv(4096).decode().splitlines())
        daemon.communicate(timeout=PATIENCE)
        assert daemon.returncode == 0


def test_it_says_where_it_is_when_asked(shell: Shell) -> None:
    shell.good(*APP, "daemon", "start", "-d")
    os.kill(pid_of(shell), signal.SIGUSR1)
    until(lambda: "thread dump requested; running jobs: none" in shell.good(*APP, "daemon", "logs", "-n", "500").out)
    os.kill(pid_of(shell), signal.SIGHUP)
    until(lambda: "log file reopened" in shell.good(*APP, "daemon", "logs", "-n", "500").out)


def test_with_the_web_beside_it(shell: Shell) -> None:
    import httpx

    shell.good(*APP, "daemon", "start", "-d", "--http", ":0")
    url = shell.good("--json", *APP, "daemon", "status").json["http"]
    assert httpx.get(f"{url}/v1/stats").json()["workers"] == 1
    with httpx.stream("GET", f"{url}/v1/events?after=0", timeout=PATIENCE) as response:
        assert response.status_code == 200
        began = time.monotonic()
        shell.good(*APP, "daemon", "stop")
        assert "event: bye" in "".join(response.iter_text())
    assert time.monotonic() - began < 8


def test_the_web_beside_it_is_served_until_the_drain_is_over_and_then_refuses_to_connect(shell: Shell) -> None:
    import httpx

    daemon = shell.start(*APP, "daemon", "start", "--http", ":0")
    until(lambda: shell.run(*APP, "daemon", "status", "--check").code == 0)
    url = shell.good("--json", *APP, "daemon", "status").json["http"]
    shell.good(*APP, "jobs", "submit", "app:slow", "--arg", "seconds=6", "--id", "nap")
    until(lambda: shell.stored("nap") == "in_progress")
    seen: set[int] = set()
    drained: list[str] = []
    with (
        ThreadPoolExecutor(1) as reader,
        httpx.Client(base_url=url, timeout=PATIENCE) as client,
        client.stream("GET", "/v1/events?after=0") as opened,
    ):
        output = reader.submit(daemon.communicate)  # from now on: its log of all these requests fills a pipe
        daemon.send_signal(signal.SIGTERM)
        try:
            while daemon.poll() is None:
                with client.stream("GET", "/v1/events?after=0") as stream:
                    seen.add(stream.status_code)
                for path in ("/v1/jobs/nap", "/v1/jobs", "/v1/stats", "/readyz"):
                    seen.add(client.get(path).status_code)
                workers = client.get("/v1/workers").json()["items"]
                drained += [worker["name"] for worker in workers]
        except httpx.TransportError:
            pass  # it listens no more
        log = "".join(opened.iter_text())
        _, said = output.result(timeout=PATIENCE)
    assert daemon.returncode == 0, said
    assert seen == {200}
    assert drained  # the worker signs off when the drain is over, and not before
    assert "event: completed" in log  # a stream goes on over the drain ...
    assert "event: bye" in log  # ... to its end
    assert "Traceback" not in said
    assert status_of(shell, "nap") == "completed"


def test_the_web_alone(shell: Shell) -> None:
    import httpx

    web = shell.start("--db", "jobs.db", "web", "--port", "0", "--token", "new")
    assert web.stdout is not None
    assert web.stderr is not None
    token = web.stdout.readline().removeprefix("token: ").strip()
    url = next(line for line in web.stderr if "http://" in line and "/v1/" in line).split()[-1]
    assert httpx.get(f"{url}jobs").status_code == 401
    assert httpx.get(f"{url}jobs", headers={"Authorization": f"Bearer {token}"}).json()["items"] == []
    web.send_signal(signal.SIGINT)
    web.communicate(timeout=PATIENCE)
    assert web.returncode == 0


DEAF = """
import anyio, asyncio


async def shield():
    with anyio.CancelScope(shield=True):
        await anyio.sleep_forever()


async def swallow():
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue
"""


def test_bodies_that_ignore_their_cancellation_do_not_hold_the_daemon(shell: Shell) -> None:
    (shell.folder / "deaf.py").write_text(DEAF)
    quick = {"ASYNCJOBS_DAEMON_SHUTDOWN_TIMEOUT": "0.1", "ASYNCJOBS_DAEMON_CANCEL_GRACE": "0.1"}
    daemon = shell.start("--db", "jobs.db", "daemon", "start", "--allow", "deaf", **quick)
    until(lambda: shell.run("--db", "jobs.db", "daemon", "status", "--check").code == 0)
    for name in ("shield", "swallow"):
        shell.good("--db", "jobs.db", "jobs", "submit", f"deaf:{name}", "--id", name)
    until(lambda: all(shown(shell, name)["status"] == "in_progress" for name in ("shield", "swallow")))
    daemon.send_signal(signal.SIGTERM)
    _, said = daemon.communicate(timeout=PATIENCE)
    assert daemon.returncode == 0, said
    assert "leaving these jobs behind" in said
    assert "daemon 'default' stopped" in said
    assert shell.run("--db", "jobs.db", "daemon", "status").code == 3
    for name in ("shield", "swallow"):
        job = shown(shell, name)
        assert (job["status"], job["interruptions"], job["failures"]) == ("pending", 0, 0)


def shown(shell: Shell, job: str) -> dict[str, Any]:
    return shell.good("--json", "--db", "jobs.db", "jobs", "show", job).json


def test_a_daemon_whose_state_is_elsewhere_is_not_running_here_and_its_worker_is_named(shell: Shell) -> None:
    """As root looks for the daemon of another user."""
    shell.good(*APP, "daemon", "start", "-d", "--name", "second")
    apart = {"XDG_STATE_HOME": str(shell.folder / "elsewhere")}
    try:
        found = "1 worker is alive on this store all the same ("
        ran = shell.run(*APP, "daemon", "status", **apart)
        assert ran.code == 3
        assert found in ran.err
        assert "whose state files are not in ./elsewhere/asyncjobs" in ran.err
        assert "with its XDG_STATE_HOME" in ran.err
        checked = shell.run(*APP, "daemon", "status", "--check", **apart)
        assert (checked.code, checked.out) == (3, "")
        assert found in checked.err
        assert len(shell.run("--json", *APP, "daemon", "status", **apart).json["other_workers"]) == 1
        stopped = shell.run(*APP, "daemon", "stop", **apart)
        assert stopped.code == 3
        assert found in stopped.err
        # Here, the worker is known to be the other daemon.
        for command in (("status",), ("status", "--check"), ("stop",)):
            ran = shell.run(*APP, "daemon", *command)
            assert (ran.code, "alive" in ran.err) == (3, False)
        assert shell.run("--json", *APP, "daemon", "status").json["other_workers"] == []
    finally:
        shell.run(*APP, "daemon", "stop", "--now", "--name", "second")
    ran = shell.run(*APP, "daemon", "status", "--check", **apart)
    assert (ran.code, ran.out, ran.err) == (3, "", "")
