"""Names of ``__main__`` and of loaded classes, and the cache of what was found out about a callable."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from asyncjobs.core.codec import (
    CallableNotFoundError,
    describe_callable,
    resolve_callable,
)
from asyncjobs.core.codec.cache import IdentityCache
from asyncjobs.core.codec.names import loaded_class, loaded_module, main_name, stored_module
from asyncjobs.core.mains import is_of_a_script
from asyncjobs.exceptions import NotSerializableError

HERE = __name__


class Base:
    def method(self) -> None: ...


def plain() -> None: ...


# -- __main__


@pytest.mark.parametrize(
    ("name", "is_of"),
    [("__main__:work", True), ("/srv/shop.py:work", True), ("shop:work", False), ("py:__main__", False)],
)
def test_the_name_of_a_function_tells_whether_it_is_of_a_script(name: str, is_of: bool) -> None:
    assert is_of_a_script(name) is is_of


def _as_main(monkeypatch: pytest.MonkeyPatch, **attributes: Any) -> ModuleType:
    main = ModuleType("__main__")
    vars(main).update(attributes)
    monkeypatch.setitem(sys.modules, "__main__", main)
    return main


def _spec(name: str) -> SimpleNamespace:
    return SimpleNamespace(name=name)


def test_main_has_the_name_of_its_module_or_script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "app.py"
    (tmp_path / "link.py").symlink_to(script)
    for attributes, name in [
        ({"__spec__": _spec("pkg.mod")}, "pkg.mod"),
        ({"__spec__": _spec("pkg.__main__")}, "pkg.__main__"),
        ({"__spec__": None, "__file__": str(tmp_path / "link.py")}, str(script.resolve())),
        ({"__spec__": _spec("__main__"), "__file__": str(script)}, str(script.resolve())),
        ({"__spec__": None, "__file__": "<stdin>"}, None),
        ({"__spec__": None}, None),
    ]:
        main = _as_main(monkeypatch, **attributes)
        assert main_name() == stored_module("__main__") == stored_module("__mp_main__") == name
        assert stored_module("other") == "other"
        if name is None:
            assert loaded_module("__main__") is main
        else:
            assert loaded_module(name) is main
            assert loaded_module("__main__") is None


def test_main_functions_match_only_the_same_script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path.resolve() / "app.py"
    main = _as_main(monkeypatch, __spec__=None, __file__=str(script))
    exec("def task(): return 1\nclass Tool:\n    pass", vars(main))
    name = f"{script}:task"
    assert describe_callable(main.task).name == name
    assert resolve_callable(name) is main.task
    assert loaded_class(str(script), "Tool") is main.Tool
    _as_main(monkeypatch, __spec__=None, __file__="/elsewhere/other.py")
    with pytest.raises(CallableNotFoundError) as caught:
        resolve_callable(name, allow_import=True)
    assert caught.value.reason == (
        f"it was submitted by the script {script}, and this process runs /elsewhere/other.py"
    )
    assert loaded_class(str(script), "Tool") is None
    main = _as_main(monkeypatch, __spec__=None)
    with pytest.raises(CallableNotFoundError, match="and this process runs no script"):
        resolve_callable(name)
    exec("def task(): return 1", vars(main))
    with pytest.raises(
        NotSerializableError, match=r"is task at <string>:1 \(defined in an interactive session\), which"
    ):
        describe_callable(main.task)


@pytest.mark.parametrize("how", ["script", "module", "package", "command"])
def test_main_in_real_processes(how: str, tmp_path: Path) -> None:
    code = textwrap.dedent(
        """
        from asyncjobs.core.codec import describe_callable, resolve_callable
        def task(): ...
        try:
            name = describe_callable(task).name
            assert resolve_callable(name) is task
        except Exception as error:
            name = error.args[0]
        print(name)
        """
    )
    package = tmp_path / "codec_pkg"
    package.mkdir()
    for name in ("__init__.py", "__main__.py", "mod.py"):
        (package / name).write_text(code if name != "__init__.py" else "")
    arguments, expected = {
        "script": ([str(package / "mod.py")], f"{(package / 'mod.py').resolve()}:task"),
        "module": (["-m", "codec_pkg.mod"], "codec_pkg.mod:task"),
        "package": (["-m", "codec_pkg"], "codec_pkg.__main__:task"),
        "command": (
            ["-c", code],
            "$.func is task at <string>:3 (defined in an interactive session), which another process could not find "
            "again",
        ),
    }[how]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, *arguments],
        env={"PYTHONPATH": f"{root}:{tmp_path}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == expected


# -- loaded classes


def test_classes_are_found_without_running_code(monkeypatch: pytest.MonkeyPatch) -> None:
    assert loaded_class(HERE, "Base") is Base
    for module, qualname in [
        (HERE, "Path"),  # an alias of something from elsewhere
        (HERE, "plain"),
        (HERE, "Base.gone"),
        (HERE, "test_classes_are_found_without_running_code.<locals>.X"),
        ("asyncjobs_no_such_module", "Base"),
    ]:
        assert loaded_class(module, qualname) is None
    monkeypatch.setitem(sys.modules, "codec_odd", 5)
    assert loaded_class("codec_odd", "Base") is None


# -- the cache


def test_the_cache_is_by_identity_bounded_and_lets_go() -> None:
    class Thing:
        pass

    cache: IdentityCache[int] = IdentityCache(limit=2)
    things = [Thing(), Thing(), Thing()]
    for number, thing in enumerate(things):
        cache.put(thing, number)
    assert [cache.get(thing) for thing in things] == [None, None, 2]
    assert len(cache) == 1
    del thing, things[2]
    assert len(cache) == 0
    cache.put(1, 5)  # an int cannot be weakly referenced
    assert cache.get(1) is None
