"""A stored script path leads to the loaded module of that file, and to one of its name where the file is gone."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from asyncjobs.core.codec import CallableNotFoundError, resolve_callable, script_modules
from asyncjobs.core.codec.script_modules import script_module
from asyncjobs.core.mains import APP_MARK, MAIN


def load(monkeypatch: pytest.MonkeyPatch, name: str, file: Any, **attributes: Any) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(__file__=file, **attributes)
    monkeypatch.setitem(sys.modules, name, module)
    return module


def script(folder: Path, name: str = "shop.py") -> str:
    path = folder.resolve() / name
    path.write_text("")
    return str(path)


def test_a_script_that_was_imported_is_found_by_its_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = script(tmp_path)
    link = tmp_path / "link"
    link.mkdir()
    (link / "shop.py").symlink_to(path)
    (tmp_path / "other").mkdir()
    load(monkeypatch, "namesake", script(tmp_path / "other"))
    assert script_module(path) is None
    module = load(monkeypatch, "pkg.shop", str(link / "shop.py"))
    assert script_module(path) is module
    assert script_module(path) is module  # the second time without a look at all modules


def test_a_script_is_found_once_it_is_imported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = script(tmp_path)
    for _ in range(2):  # the second time without a look at all modules
        assert script_module(path) is None
    module = load(monkeypatch, "shop_imported_later", path)
    assert script_module(path) is module
    monkeypatch.delitem(sys.modules, "shop_imported_later")
    assert script_module(path) is None


@pytest.mark.parametrize(
    ("name", "attributes", "found"), [(MAIN, {}, True), ("shop", {APP_MARK: True}, True), ("shop", {}, False)]
)
def test_a_script_that_is_not_on_this_machine_is_the_main_script_or_the_app_of_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, attributes: dict[str, Any], found: bool
) -> None:
    gone = str(tmp_path / "gone" / "shop.py")
    module = load(monkeypatch, name, script(tmp_path), **attributes)
    assert script_module(gone) is (module if found else None)
    assert script_module(str(tmp_path / "gone" / "store.py")) is None
    (tmp_path / "there").mkdir()
    assert script_module(script(tmp_path / "there")) is None  # it is here, so that another is not meant


class Raising:
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("working outside of the context")


def test_modules_that_say_nothing_of_themselves_are_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = script(tmp_path)
    for name, odd in (("odd_proxy", Raising()), ("odd_number", 5), ("odd_none", None)):
        monkeypatch.setitem(sys.modules, name, odd)
    load(monkeypatch, "odd_file", 5)
    load(monkeypatch, "odd_session", "<shop.py>")
    assert script_module(path) is None
    module = load(monkeypatch, "behind_the_odd_ones", path)
    assert script_module(path) is module


def test_what_is_kept_of_scripts_that_are_not_loaded_is_bounded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    missing = {f"gone_{number}.py": 0 for number in range(250)}
    monkeypatch.setattr(script_modules, "_missing", missing)
    for number in range(10):
        assert script_module(str(tmp_path / f"script_{number}.py")) is None
        assert len(missing) <= 256


def test_a_function_of_an_imported_script_runs_by_its_stored_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = script(tmp_path)
    module = load(monkeypatch, "shop_of_functions", path)
    exec("def order(): ...", vars(module))
    assert resolve_callable(f"{path}:order") is module.order
    vars(module)["join"] = Path.joinpath
    with pytest.raises(CallableNotFoundError, match="belongs to the module pathlib"):
        resolve_callable(f"{path}:join")
