"""Fail if the type of a public symbol is unknown to a program that has installed the package: ``make check`` runs this.

The package is installed into a folder of its own, without what only its repository has. pyright then judges all of it;
what counts is what the public modules export, and the members of that. A symbol that pyright calls ambiguous counts as
unknown: some attribute of a class that it refers to is not annotated, and other type checkers may infer another type.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).parents[2]
PUBLIC = (
    "asyncjobs",
    "asyncjobs.backends.base",
    "asyncjobs.client",
    "asyncjobs.compat",
    "asyncjobs.settings",
    "asyncjobs.testing",
    "asyncjobs.web",
)


def install(folder: Path) -> None:
    """Build the wheel and unpack it in a folder."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--target", str(folder), str(ROOT)], check=True)


def judge(folder: Path) -> Mapping[str, Any]:
    """Return pyright's report on the package in this folder."""
    # --verifytypes asks the python of the PATH for its packages, whatever --pythonpath says.
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    command = [sys.executable, "-m", "pyright", "--verifytypes", "asyncjobs", "--ignoreexternal", "--outputjson"]
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    report: Mapping[str, Any] = json.loads(done.stdout)["typeCompleteness"]
    assert Path(report["packageRootDirectory"]).parent.resolve() == folder.resolve(), "it looked at another package"
    return report


def find_public() -> set[str]:
    """Return the names of what the public modules export, by the module that exports it and by the one that has it."""
    return {name for module in map(importlib.import_module, PUBLIC) for name in _exported(module)}


def _exported(module: ModuleType) -> Iterator[str]:
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
    for name in getattr(module, "__all__", [name for name in own if not name.startswith("_")]):
        yield f"{module.__name__}.{name}"
        value = getattr(module, name)
        if (inspect.isclass(value) or inspect.isroutine(value)) and value.__module__.startswith("asyncjobs"):
            yield f"{value.__module__}.{value.__qualname__}"


def find_faults(symbols: Iterable[Mapping[str, Any]], public: set[str]) -> list[str]:
    """Return the public symbols, and members of these, whose type is not known, each with the reason."""
    faults: list[str] = []
    for symbol in symbols:
        name = symbol["name"]
        if symbol["isTypeKnown"] or not (name in public or name.rpartition(".")[0] in public):
            continue
        messages = [diagnostic["message"] for diagnostic in symbol["diagnostics"]]
        faults.append(f"{name}: {' '.join(' '.join(messages).split()) or 'refers to a symbol of unknown type'}")
    return faults


def main() -> None:
    """Print every fault; exit code 1 if there is any."""
    with tempfile.TemporaryDirectory() as folder:
        install(Path(folder))
        report = judge(Path(folder))
    public = find_public()
    known = {symbol["name"] for symbol in report["symbols"]}
    exported = {f"asyncjobs.{name}" for name in importlib.import_module("asyncjobs").__all__}
    faults = find_faults(report["symbols"], public)
    faults += [f"{name}: pyright does not know that it is exported" for name in sorted(exported - known)]
    for fault in faults:
        print(fault)
    print(f"{len(public & known)} public symbols, {len(faults)} of unknown type")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
