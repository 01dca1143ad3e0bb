"""Who may run what: submitted, registered, marked, the program's own; and nothing else."""

from __future__ import annotations

import functools
import os
import random
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asyncjobs import ConfigurationError, JobProcessor, JobStatus, MemoryBackend, current_job, job
from asyncjobs.core.codec import adapted
from asyncjobs.runtime.functions import Functions

ROOT = Path(__file__).resolve().parents[2]


def own() -> str:
    return "the program's own"


@job
def marked() -> str:
    return "marked"


class Tools:
    @staticmethod
    def static() -> str:
        return "static"


OWN = f"{__name__}:own"


# -- without allowed_modules: embedded


def test_what_was_vouched_for_may_run() -> None:
    functions = Functions()
    assert functions.names == frozenset()
    functions.add("any:name", own)
    functions.register(len)
    assert functions.names == {"any:name", "builtins:len"}
    assert functions.get("any:name", "job") is own
    assert functions.resolve("builtins:len")
    assert functions.add("any:name", own) is False  # it did so before


def test_the_programs_own_functions_may_run_when_its_module_is_loaded() -> None:
    functions = Functions()
    assert functions.resolve(OWN)
    assert functions.resolve(f"{__name__}:Tools.static")
    assert functions.get(OWN, "") is own
    assert functions.refused == {}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("os:getcwd", "os:getcwd cannot run here: it belongs to the module posix"),
        (
            "os:makedirs",
            "'os:makedirs' is not the program's own code; register it, or list its module in allowed_modules",
        ),
        ("builtins:eval", "is not the program's own code"),
        ("subprocess:run", "is not the program's own code"),
        ("shutil:rmtree", "is not the program's own code"),
        ("posix:system", "is not the program's own code"),
        ("anyio:run", "is not the program's own code"),
        ("anyio._core._eventloop:run", "cannot run here: it belongs to the module anyio"),
        ("msgspec.json:encode", "cannot run here"),
        ("pytest:main", "cannot run here: it belongs to the module"),
        ("not.imported:anything", "module 'not.imported' is not imported here, and not in allowed_modules"),
        ("this:s", "module 'this' is not imported here"),
        (f"{__name__}:nothing_of_this_name", "has no nothing_of_this_name"),
        (f"{__name__}:OWN", "is a str, which cannot be called"),
        (f"{__name__}:os.system", "leads through something that is not a class"),
        (f"{__name__}:Path", "it belongs to the module pathlib"),
        ("no colon", "module '' is not imported here"),
        ("", "module '' is not imported here"),
        (":own", "module '' is not imported here"),
    ],
)
def test_what_a_stored_job_may_not_name(name: str, reason: str) -> None:
    functions = Functions()
    assert not functions.resolve(name)
    assert reason in functions.refused[name]
    assert functions.get(name, "job") is None
    assert functions.names == frozenset()


def test_resolving_a_name_imports_nothing() -> None:
    assert "antigravity" not in sys.modules
    Functions().resolve("antigravity:fly")
    assert "antigravity" not in sys.modules


def test_an_installed_package_marks_its_functions_as_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    from asyncjobs.runtime import functions as policy

    monkeypatch.setattr(policy, "_install_folders", lambda: {ROOT})  # as if this module were installed
    functions = Functions()
    assert not functions.resolve(OWN)
    assert functions.resolve(f"{__name__}:marked")


def test_refusals_are_looked_at_again() -> None:
    functions = Functions()
    functions.resolve("not.imported:f")
    functions.look_again()
    assert functions.refused == {}
    functions.resolve("not.imported:f")
    functions.add("not.imported:f", own)
    assert functions.refused == {}
    assert functions.resolve("not.imported:f")


# -- with allowed_modules: a daemon


@pytest.mark.parametrize(
    ("allowed", "name", "may"),
    [
        ((__name__,), OWN, True),
        (("tests",), "tests.runtime.support:add", True),
        (("tests.runtime",), "tests.runtime.support:add", True),
        (("tests.run",), "tests.runtime.support:add", False),
        (("json",), "json:dumps", True),
        (("json",), "json.decoder:JSONDecoder", True),
        (("json",), "os:system", False),
        ((), OWN, False),
    ],
)
def test_allowed_modules_are_the_only_ones(allowed: tuple[str, ...], name: str, may: bool) -> None:
    functions = Functions(allowed)
    assert functions.resolve(name) is may
    if not may:
        assert functions.refused[name] == f"module {name.partition(':')[0]!r} is not in allowed_modules"


def test_an_allowed_module_does_not_open_the_way_to_what_it_imports() -> None:
    functions = Functions((__name__, "tests"))
    for name in (f"{__name__}:subprocess.run", f"{__name__}:Path", f"{__name__}:textwrap.dedent"):
        assert not functions.resolve(name)


def test_allowed_modules_are_imported_when_they_are_needed() -> None:
    sys.modules.pop("colorsys", None)
    assert Functions(("colorsys",)).resolve("colorsys:rgb_to_hls")
    assert "colorsys" in sys.modules


# -- with an adapter: as the factory

MAKE = "tests.runtime.factories:make"


@pytest.mark.parametrize(
    ("allowed", "name", "reason"),
    [
        (("tests",), f"demo+{MAKE}", None),
        (("tests.runtime.factories",), f"demo+{MAKE}", None),
        (("tests.cli",), f"demo+{MAKE}", "module 'tests.runtime.factories' is not in allowed_modules"),
        ((), f"demo+{MAKE}", "module 'tests.runtime.factories' is not in allowed_modules"),
        (("demo+tests",), f"demo+{MAKE}", "module 'tests.runtime.factories' is not in allowed_modules"),
        (("asyncjobs.testing", "demo"), f"demo+{MAKE}", "module 'tests.runtime.factories' is not in allowed_modules"),
        (("tests",), "demo+os:system", "module 'os' is not in allowed_modules"),
        (("tests",), "demo+tests.runtime.factories:os.system", "leads through something that is not a class"),
        (("tests",), f"nope+{MAKE}", "this version of asyncjobs has no adapter 'nope' (it has crew, demo, flow)"),
        (("tests",), "nope+os:system", "has no adapter 'nope'"),
        (("tests",), f"demo+demo+{MAKE}", "has one adapter, not several"),
        (("tests",), f"demo+local:{MAKE}", "module 'local:tests.runtime.factories' is not in allowed_modules"),
        (("tests",), "demo+tests.runtime.factories:make_async", "is an async def function"),
        (None, f"demo+{MAKE}", None),
        (None, "demo+shutil:rmtree", "'shutil:rmtree' is not the program's own code; register it"),
        (None, "demo+not.imported:make", "module 'not.imported' is not imported here, and not in allowed_modules"),
        (None, "demo+no colon", "module '' is not imported here"),
        (None, "demo+", "module '' is not imported here"),
        (None, "+", "has no adapter ''"),
    ],
)
def test_an_adapter_may_run_what_may_run_itself_and_nothing_else(
    allowed: tuple[str, ...] | None, name: str, reason: str | None
) -> None:
    import tests.runtime.factories  # noqa: F401 - the program's own code, and imported

    functions = Functions(allowed)
    assert functions.resolve(name) is (reason is None)
    assert functions.names == (frozenset() if reason else {name})
    if reason is not None:
        assert reason in functions.refused[name]
        assert functions.get(name, "job") is None


PARTS = ["demo", "crew", "+", "+", ":", ":", ".", "/", "tests.runtime.factories", "make", "os", "system", "local:", ""]
PARTS += [" ", "..", "\0", "\udc80", "tests", "__main__", "/tmp/x.py", "Poem.run", "\n"]


@pytest.mark.parametrize("allowed", [None, ("tests.runtime.factories",)], ids=["embedded", "daemon"])
@pytest.mark.parametrize("seed", range(5))
def test_no_name_that_a_file_may_have_raises_or_leads_anywhere_else(allowed: tuple[str, ...] | None, seed: int) -> None:
    import tests.runtime.factories  # noqa: F401 - all that may be found

    chance, functions, before = random.Random(seed), Functions(allowed), set(sys.modules)
    names = ["".join(chance.choices(PARTS, k=chance.randint(1, 7))) for _ in range(1_000)]
    for name in (*names, MAKE, f"demo+{MAKE}"):
        if functions.resolve(name):
            assert name.removeprefix("demo+").startswith("tests.runtime.factories:"), name
        else:
            assert functions.refused[name]
    assert functions.names >= {MAKE, f"demo+{MAKE}"}
    assert set(sys.modules) == before


def test_what_was_vouched_for_may_run_with_an_adapter_and_not_the_other_way_round() -> None:
    from tests.runtime.factories import make

    functions = Functions(())
    functions.register(make)
    assert functions.resolve(f"demo+{MAKE}")
    other = Functions(())
    other.register(adapted("demo", make))
    assert other.names == {f"demo+{MAKE}"}
    assert not other.resolve(MAKE)


def test_a_local_callable_lends_its_name_to_no_adapter() -> None:
    functions = Functions()
    functions.add_local("job", f"local:{MAKE}", own)
    assert not functions.resolve(f"demo+local:{MAKE}")


def test_the_mark_of_a_factory_counts_with_an_adapter(monkeypatch: pytest.MonkeyPatch) -> None:
    from asyncjobs.runtime import functions as policy

    monkeypatch.setattr(policy, "_install_folders", lambda: {ROOT})  # as if the module were installed
    functions = Functions()
    assert not functions.resolve(f"demo+{MAKE}")
    assert functions.resolve(f"demo+{MAKE}_marked")


def test_an_allowed_module_that_cannot_be_imported_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_module_of_this_test.py").write_text("raise RuntimeError('at import')")
    (tmp_path / "exiting_module_of_this_test.py").write_text("raise SystemExit(3)")
    monkeypatch.syspath_prepend(tmp_path)
    functions = Functions(("broken_module_of_this_test", "exiting_module_of_this_test", "missing_module_of_this_test"))
    for module, words in (
        ("broken", "RuntimeError: at import"),
        ("exiting", "SystemExit"),
        ("missing", "ModuleNotFoundError"),
    ):
        name = f"{module}_module_of_this_test:f"
        assert not functions.resolve(name)
        assert words in functions.refused[name]


# -- local callables


def test_a_local_callable_belongs_to_its_job() -> None:
    functions = Functions()
    functions.add_local("a", "local:f", own)
    functions.add_local("b", "local:f", marked)
    assert functions.names == {"local:f"}
    assert functions.get("local:f", "a") is own
    assert functions.get("local:f", "b") is marked
    assert functions.get("local:f", "other") is None
    functions.local.stored(["a", "b"])
    for _ in range(2):
        functions.local.seen(["a"], {"a": JobStatus.COMPLETED})
    assert functions.get("local:f", "a") is None
    assert functions.resolve("local:f")


# -- in a processor


def returns_attempt() -> int:
    return current_job().attempt


@pytest.mark.anyio
async def test_a_processor_is_given_functions_that_it_may_run() -> None:
    backend = MemoryBackend()
    async with JobProcessor(backend, enable_daemon=False) as jp:
        await jp.submit_job(os.path.join, "a", "b", job_id="join")
    async with JobProcessor(backend, functions=[os.path.join]) as jp:
        assert await jp.handle("join").result(timeout=10) == os.path.join("a", "b")


def _yields() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("render", "functions=[render]"),
        ("json.dumps", "functions=[render]"),
        (5, "functions=[render]"),
        (lambda: 1, "defined in a module"),
        ([].append, "defined in a module"),
        (functools.partial(os.path.join, "a"), "the function that it wraps"),
        (_yields, "collect its items"),
    ],
    ids=["name", "path", "number", "lambda", "method", "partial", "generator"],
)
def test_what_a_processor_may_run_is_given_as_functions_that_have_a_name(given: Any, hint: str) -> None:
    with pytest.raises(ConfigurationError, match=r"functions\[1\] cannot be") as caught:
        JobProcessor(MemoryBackend(), functions=[len, given])
    assert hint in str(caught.value.hint)
    assert "submit" not in str(caught.value)


@pytest.mark.anyio
async def test_what_a_processor_may_not_run_waits_and_says_why(caplog: pytest.LogCaptureFixture) -> None:
    backend = MemoryBackend()
    async with JobProcessor(backend, enable_daemon=False) as jp:
        await jp.submit_job(os.getcwd, job_id="cwd")
    async with JobProcessor(backend) as jp:
        assert await (await jp.submit_job(returns_attempt)) == 1  # by then it has looked at the other one, too
        reason = await jp.why("cwd")
        assert reason.code == "not_allowed"
        assert "is not the program's own code" in reason.sentence
        assert await jp.get_status("cwd") == "pending"
        # Submitting it is vouching for it.
        await (await jp.submit_job(os.getcwd))
        assert await jp.handle("cwd").result(timeout=10) == os.getcwd()
    refusals = [record for record in caplog.records if "are not run here" in record.getMessage()]
    assert len(refusals) == 1


# -- __main__


SCRIPT = """
    import asyncio, sys
    from asyncjobs import JobProcessor, SQLiteConfig

    async def work(n: int) -> int:
        return n * 2

    async def main(what: str) -> None:
        async with JobProcessor(SQLiteConfig(db_path=sys.argv[2]), enable_daemon=what != "store") as jp:
            if what == "store":
                await jp.submit_job(work, 21, job_id="j")
                print((await jp.get_job("j")).func)
            elif what == "run":
                print(await jp.handle("j").result(timeout=10))
            else:
                await asyncio.sleep(0.3)
                print((await jp.why("j")).code)

    if __name__ == "__main__":
        asyncio.run(main(sys.argv[1]))
"""


def python(*arguments: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(cwd), str(ROOT)])},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").touch()
    for name in ("one.py", "two.py", "app/jobs.py"):
        (tmp_path / name).write_text(textwrap.dedent(SCRIPT))
    (tmp_path / "link.py").symlink_to(tmp_path / "one.py")
    return tmp_path


@pytest.mark.slow
def test_a_scripts_functions_are_stored_under_its_real_path(scripts: Path) -> None:
    database = scripts / "jobs.db"
    assert python("one.py", "store", database, cwd=scripts) == f"{scripts.resolve() / 'one.py'}:work"
    assert python("two.py", "look", database, cwd=scripts) == "not_allowed"  # the same name in another script
    assert python("link.py", "run", database, cwd=scripts) == "42"  # the same file by another name


@pytest.mark.slow
def test_a_module_run_with_m_is_that_module(scripts: Path) -> None:
    database = scripts / "jobs.db"
    assert python("-m", "app.jobs", "store", database, cwd=scripts) == "app.jobs:work"
    code = (
        f"import app.jobs, asyncio, sys; sys.argv = ['x', 'run', {str(database)!r}]; asyncio.run(app.jobs.main('run'))"
    )
    assert python("-c", code, cwd=scripts) == "42"


@pytest.mark.slow
def test_a_script_is_never_imported_because_a_job_names_it(scripts: Path) -> None:
    database = scripts / "jobs.db"
    python("one.py", "store", database, cwd=scripts)
    code: Any = (
        "import asyncio\nfrom asyncjobs import *\n"
        "async def main():\n"
        f"    async with JobProcessor(SQLiteConfig(db_path={str(database)!r}), "
        f"daemon=DaemonConfig(allowed_modules=({str(scripts / 'one.py')!r}, 'one'))) as jp:\n"
        "        await asyncio.sleep(0.3)\n"
        "        print((await jp.why('j')).code)\n"
        "asyncio.run(main())\n"
    )
    assert python("-c", code, cwd=scripts) == "not_allowed"
