"""Every message that names a command or a call is listed here, with the test that runs it or what it is checked by.

A message that is new, or says something else, fails until it has its line: look whether it works as it is printed.
"""

# ruff: noqa: E501 - messages are listed as they are
from __future__ import annotations

import ast
import inspect
import re
import secrets
from pathlib import Path
from typing import Any

import pytest

import asyncjobs
from asyncjobs import JobHandle, JobProcessor, SQLiteConfig
from asyncjobs.web import WebConfig

SOURCE = Path(asyncjobs.__file__).parent
NAMES = re.compile(
    r"asyncjobs (?:--|backup|bench|compact|config|daemon|dag|demo|doctor|events|groups|jobs|version|web)"
    r"|\bjp\.|await [a-z]+[.(]|\bawait handle|JobProcessor\([^)]|asgi_app\([^)]|(?:Daemon|SQLite)Config\("
    r"|POST \{"
)

# The call in the message, which is parsed and bound; "" for commands (tests/cli/test_hints.py runs those that commands
# print), and for words that name no whole call.
LISTED: dict[tuple[str, str], str] = {
    ("backends/select.py", "put it into the settings: SQLiteConfig(path=…)"): "SQLiteConfig(path=…)",
    (
        "backends/sqlite/files.py",
        "choose a local disk; SQLiteConfig(allow_network_filesystem=True) opens it at your own risk",
    ): "SQLiteConfig(allow_network_filesystem=True)",
    ("cli/acting.py", "asyncjobs jobs list shows what there is"): "",
    ("cli/acting.py", "the job goes on: asyncjobs jobs watch {}"): "",
    ("cli/daemon.py", "asyncjobs daemon stop --now{} hands its jobs back at once"): "",
    ("cli/demo.py", "The store was a temporary one. Yours:  asyncjobs daemon start --help"): "",
    ("cli/doctor.py", "asyncjobs jobs show {}"): "",
    ("cli/doctor.py", "{} jobs failed: asyncjobs jobs list --status failed"): "",
    ("cli/groups.py", "asyncjobs groups list shows what there is"): "",
    ("cli/hints.py", "asyncjobs jobs retry {}"): "",
    ("cli/hints.py", "mend the cause and run it again: asyncjobs jobs retry {}"): "",
    ("cli/looking.py", " · retry the failed: asyncjobs jobs retry --failed{}"): "",
    ("cli/looking.py", "asyncjobs jobs list shows what there is"): "",
    ("client/jobs.py", "await handle waits for it"): "await handle",
    ("exceptions.py", "await handle.retry() runs it again"): "await handle.retry()",
    ("exceptions.py", "the job goes on; wait again, or cancel it with await handle.cancel()"): "await handle.cancel()",
    ("handle.py", "await handle"): "await handle",
    ("handle.py", "jp.handle(job_id) makes one"): "jp.handle(job_id)",
    ("handle.py", "jp.handle(job_id) makes one of an id"): "jp.handle(job_id)",
    ("processor.py", "await handle waits for it"): "await handle",
    (
        "processor.py",
        "from another thread: asyncio.run_coroutine_threadsafe(jp.submit_job(…), loop).result(), with the loop that entered it; or SyncJobs, which any thread may call; another loop enters a JobProcessor of its own",
    ): "asyncio.run_coroutine_threadsafe(jp.submit_job(…), loop).result()",
    (
        "runtime/batch.py",
        "async with jp.batch() as batch: batch.submit_job(…)",
    ): "async with jp.batch() as batch: batch.submit_job(…)",
    (
        "runtime/child.py",
        "await its result, or open a JobProcessor(enable_daemon=False) on the same store",
    ): "JobProcessor(enable_daemon=False)",
    ("runtime/context.py", "await function(…)"): "await function(…)",
    (
        "runtime/leaving.py",
        "what is left waits in the store. 'await jp.drain()' before leaving waits for its end; a daemon on the same store runs it",
    ): "await jp.drain()",
    (
        "runtime/leaving.py",
        "what is left in a store in memory ends with this program, unless a JobProcessor is entered again on the same backend object. 'await jp.drain()' before leaving waits for its end; a store in a file keeps it",
    ): "await jp.drain()",
    ("runtime/submission.py", "ids, handles, jp.optional(…)"): "jp.optional(…)",
    ("runtime/submission.py", "ids, handles, jp.optional(…), or a list of these"): "jp.optional(…)",
    ("settings.py", "asyncjobs config show lists all settings"): "",
    ("sync.py", "await handle."): "",
    (
        "sync.py",
        "await current_job().submit_job(…), await jp.handle(job_id), with jp = jobs.processor",
    ): "await current_job().submit_job(…), await jp.handle(job_id)",
    ("sync.py", "await jp.submit_job(…), await jp.handle(job_id), with jp = jobs.processor"): "await jp.submit_job(…)",
    ("web/access.py", "asgi_app(auth=secrets.token_urlsafe())"): "asgi_app(auth=secrets.token_urlsafe())",
    (
        "web/access.py",
        "asgi_app(auth=secrets.token_urlsafe()), or asgi_app(auth=asyncjobs.web.allow_anyone) when the host app guards it",
    ): "asgi_app(auth=asyncjobs.web.allow_anyone)",
    ("web/access.py", "name it in asgi_app(allow_origins=…)"): "asgi_app(allow_origins=…)",
    ("web/access.py", "name it in asgi_app(allowed_hosts=(…)), or set auth="): "asgi_app(allowed_hosts=(…))",
    ("web/actions.py", "JobProcessor(functions=[…]) registers functions"): "JobProcessor(functions=[…])",
    ("web/actions.py", "asgi_app(submit=True) allows it"): "asgi_app(submit=True)",
    ("web/call.py", "asgi_app(max_body=…) allows more"): "asgi_app(max_body=…)",
    ("web/jobs.py", "POST {}/retry runs it again"): "",
    (
        "web/problems.py",
        "run it with the host: FastAPI(lifespan=jp.lifespan); a mounted app's own lifespan is not run by its host",
    ): "FastAPI(lifespan=jp.lifespan)",
}


def messages(path: Path) -> set[str]:
    """The literals of a file that name a command or a call, docstrings apart; ``{}`` is what is put in."""
    tree = ast.parse(path.read_text())
    apart = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            apart.update(id(part) for part in ast.walk(node) if part is not node)
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in apart:
            continue
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        else:
            continue
        if NAMES.search(text):
            found.add(text)
    return found


def collected() -> set[tuple[str, str]]:
    paths = {path: str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py")}
    return {(name, text) for path, name in paths.items() if name != "cli/units.py" for text in messages(path)}


def test_every_message_that_names_a_command_or_a_call_is_listed() -> None:
    assert collected() == set(LISTED)


CALLED: dict[str, Any] = {"asgi_app": WebConfig, "SQLiteConfig": SQLiteConfig, "JobProcessor": JobProcessor.__init__}


@pytest.mark.parametrize(("text", "code"), sorted({(text, code) for (_, text), code in LISTED.items() if code}))
def test_a_call_in_a_message_is_one_that_there_is(text: str, code: str) -> None:
    assert code in text
    tree = compile(code.replace("…", "..."), "hint", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        match call.func:
            case ast.Name(name) if name in CALLED:
                parameters = inspect.signature(CALLED[name]).parameters
                assert [word.arg for word in call.keywords if word.arg not in parameters] == []
            case ast.Attribute(ast.Name("jp"), name):
                assert callable(getattr(JobProcessor, name))
            case ast.Attribute(ast.Name("handle"), name):
                assert inspect.iscoroutinefunction(getattr(JobHandle, name))
            case _:
                pass


def test_the_token_in_a_hint_is_accepted_as_it_is_printed() -> None:
    text = "asgi_app(auth=secrets.token_urlsafe())"
    assert ("web/access.py", text) in LISTED
    assert eval(text, {"asgi_app": WebConfig, "secrets": secrets}).auth


def test_a_message_is_found_wherever_it_stands(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        '"""asyncjobs daemon start"""\nx = "a", f"run asyncjobs jobs list {x}"\nraise E(hint="use await handle.cancel()")\n'
    )
    assert messages(tmp_path / "a.py") == {"run asyncjobs jobs list {}", "use await handle.cancel()"}
