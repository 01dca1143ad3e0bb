"""Scripts: the same file has the same functions, whether it runs, is imported, or was moved to another machine."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from asyncjobs.core.codec import CallableNotFoundError, resolve_callable
from asyncjobs.core.codec.names import loaded_class, loaded_module
from asyncjobs.core.codec.script_modules import script_module
from asyncjobs.core.mains import APP_MARK
from asyncjobs.runtime.functions import Functions
from tests.runtime.scripts import output

SHOP = """
import asyncio, sys
from dataclasses import dataclass
from enum import Enum
from asyncjobs import JobProcessor, RetryPolicy, current_job

class Size(Enum):
    BIG = 2

@dataclass
class Page:
    number: int

class NotYet(Exception):
    pass

def render(page: Page, size: Size) -> Page:
    assert type(page) is Page and size is Size.BIG, (page, size)
    return Page(page.number * size.value)

def flaky() -> int:
    if current_job().attempt == 1:
        raise NotYet
    return current_job().attempt

async def submit():
    async with JobProcessor("./jobs.db", enable_daemon=False) as jp:
        isolation = sys.argv[1] if len(sys.argv) > 1 else "thread"
        await jp.submit_job(render, Page(4), Size.BIG, job_id="a", isolation=isolation)
        await jp.submit_job(flaky, job_id="b", retry=RetryPolicy(base=0, on=(NotYet,)), isolation=isolation)

if __name__ == "__main__":
    asyncio.run(submit())
"""

# What ``asyncjobs --app shop:jp daemon start`` does with it.
RUN = """
import asyncio, sys
import {module} as shop
from asyncjobs import JobProcessor
sys.modules["{module}"].{mark} = True

async def main():
    async with JobProcessor("./jobs.db") as jp:
        for job in ("a", "b"):
            ended = await jp.wait_for_job(job, timeout=20)
            print(ended.status, ended.error.message if ended.error else "", await jp.why(job) if ended.error else "")
        print(await jp.handle("a", shop.render), await jp.handle("b"))

if __name__ == "__main__":
    asyncio.run(main())
"""

AS_THE_SCRIPT = """
if len(sys.argv) > 2:
    async def run():
        async with JobProcessor("./jobs.db") as jp:
            for job in ("a", "b"):
                print((await jp.wait_for_job(job, timeout=20)).status)
            print(await jp.handle("a", render), await jp.handle("b"))
    if __name__ == "__main__":
        asyncio.run(run())
elif __name__ == "__main__":
    asyncio.run(submit())
"""


def done(text: str) -> bool:
    return text.replace(" ", "") in (
        "completed\ncompleted\nPage(number=8)2",
        "completed\ncompleted\nshop.Page(number=8)2",
    )


@pytest.mark.slow
@pytest.mark.parametrize("isolation", ["thread", "process"])
@pytest.mark.parametrize("moved", [False, True])
def test_a_process_that_imports_the_script_runs_what_the_script_submitted(
    tmp_path: Path, isolation: str, moved: bool
) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    output("shop.py", isolation, cwd=tmp_path)
    where = tmp_path
    if moved:  # to another machine, with the store
        where = tmp_path / "elsewhere"
        where.mkdir()
        for file in tmp_path.glob("*.*"):
            file.rename(where / file.name)
    (where / "daemon.py").write_text(RUN.format(module="shop", mark=APP_MARK))
    said = output("daemon.py", cwd=where)
    assert done(said), said


@pytest.mark.slow
@pytest.mark.parametrize("isolation", ["thread", "process"])
def test_a_script_that_was_moved_runs_what_it_submitted_where_it_was(tmp_path: Path, isolation: str) -> None:
    program = SHOP.partition("if __name__")[0] + AS_THE_SCRIPT
    (tmp_path / "shop.py").write_text(program)
    output("shop.py", isolation, cwd=tmp_path)
    where = tmp_path / "elsewhere"
    where.mkdir()
    for file in tmp_path.glob("*.*"):
        file.rename(where / file.name)
    said = output("shop.py", isolation, "run", cwd=where)
    assert done(said), said


# -- which module stands for a script


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module that was imported from a file, as any."""
    path = tmp_path / "codec_script.py"
    path.write_text("class Kind:\n    pass\ndef task(): return 7\n")
    module = ModuleType("codec_script")
    module.__file__ = str(path)
    exec(path.read_text(), module.__dict__)
    monkeypatch.setitem(sys.modules, "codec_script", module)
    return module


def test_an_imported_file_has_the_functions_and_classes_of_the_script(loaded: ModuleType) -> None:
    path = str(Path(loaded.__file__ or "").resolve())
    assert loaded_module(path) is loaded
    assert resolve_callable(f"{path}:task") is loaded.task
    assert loaded_class(path, "Kind") is loaded.Kind
    functions = Functions()
    assert functions.resolve(f"{path}:task")
    for allowed, may in ((["codec_script"], True), (["other"], False)):
        assert Functions(allowed).resolve(f"{path}:task") is may


def test_of_a_script_that_is_gone_only_the_app_module_takes_the_place(loaded: ModuleType) -> None:
    """A stored path is data: it must not open the way to any module that has a file of this name."""
    for path in ("/no/such/folder/codec_script.py", "/no/such/folder/os.py", "/no/such/folder/pathlib.py"):
        assert script_module(path) is None
        with pytest.raises(CallableNotFoundError, match="it was submitted by the script"):
            resolve_callable(f"{path}:task")
    setattr(loaded, APP_MARK, True)
    sys.modules["codec_one_more"] = ModuleType("codec_one_more")  # a module more: what was missing is looked for again
    try:
        assert resolve_callable("/no/such/folder/codec_script.py:task") is loaded.task
        assert script_module("/no/such/folder/other.py") is None
    finally:
        del sys.modules["codec_one_more"]


def test_a_script_that_exists_is_not_taken_for_another_of_its_name(loaded: ModuleType, tmp_path: Path) -> None:
    setattr(loaded, APP_MARK, True)
    other = tmp_path / "other" / "codec_script.py"
    other.parent.mkdir()
    other.write_text("")
    assert script_module(str(other.resolve())) is None


def test_what_stands_in_sys_modules_may_be_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    class Any_:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

    monkeypatch.setitem(sys.modules, "codec_no_module", 5)
    monkeypatch.setitem(sys.modules, "codec_proxy", Any_())
    assert script_module("/no/such/folder/at_all.py") is None


# -- inside a process of its own

ISOLATED = """
import asyncio, concurrent.futures, multiprocessing, pickle
from dataclasses import dataclass
from enum import Enum
from asyncjobs import JobProcessor

class Colour(Enum):
    RED = 1

@dataclass
class Page:
    number: int

    class Inner:
        pass

def square(x):
    return x * x

def numbered(page):
    return page.number

def pool(kind):
    context = multiprocessing.get_context(kind)
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as executor:
        return [*executor.map(square, [1, 2]), *executor.map(numbered, [Page(3)])]

def pickled():
    def local(): ...
    names = [thing.__module__ for thing in (square, Page, Page.Inner, Colour, local)]
    return pickle.dumps([Page(4), Colour.RED, Page.Inner, square]), names

async def main():
    async with JobProcessor("./jobs.db") as jp:
        for isolation in ("thread", "process"):
            for kind in ("spawn", "forkserver"):
                print(await (await jp.submit_job(pool, kind, isolation=isolation, max_retries=0)))
            data, names = await (await jp.submit_job(pickled, isolation=isolation, max_retries=0))
            print(pickle.loads(data) == [Page(4), Colour.RED, Page.Inner, square], set(names))

if __name__ == "__main__":
    asyncio.run(main())
"""


@pytest.mark.slow
def test_pools_and_pickles_of_a_script_work_in_a_process_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(ISOLATED)
    said = output("script.py", cwd=tmp_path, timeout=55).splitlines()
    assert said == ["[1, 4, 3]", "[1, 4, 3]", "True {'__main__'}"] * 2
