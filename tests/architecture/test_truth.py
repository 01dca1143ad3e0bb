"""No callable is tested for its truth: an empty pipeline is false, an expression has none."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import asyncjobs

pytestmark = pytest.mark.untraced

PACKAGE = Path(asyncjobs.__file__).parent
WHERE = [*PACKAGE.glob("*.py"), *PACKAGE.glob("core/**/*.py"), *PACKAGE.glob("runtime/*.py")]
CALLABLES = frozenset({"func", "_func", "function", "callee", "body", "returns"})
"""Names that hold what a user calls a function."""


def asked_of(tree: ast.AST) -> Iterator[ast.expr]:
    """Every expression of which the truth is asked."""
    for node in ast.walk(tree):
        match node:
            case ast.BoolOp():
                yield from node.values
            case ast.If() | ast.While() | ast.IfExp() | ast.Assert():
                yield node.test
            case ast.UnaryOp(op=ast.Not()):
                yield node.operand
            case ast.comprehension():
                yield from node.ifs
            case _:
                pass


def name_of(expression: ast.expr) -> str | None:
    match expression:
        case ast.Name():
            return expression.id
        case ast.Attribute():
            return expression.attr
        case _:
            return None


def found(source: str) -> list[int]:
    return [expression.lineno for expression in asked_of(ast.parse(source)) if name_of(expression) in CALLABLES]


def test_it_finds_what_it_looks_for() -> None:
    assert found("def f(func):\n    return func or other\n") == [2]
    assert found("if not self._func:\n    pass\n") == [1]
    assert found("x = 1 if function else 2") == [1]
    assert found("x = 1 if function is None else 2") == []


@pytest.mark.parametrize("path", sorted(WHERE), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_callable_is_tested_for_its_truth(path: Path) -> None:
    assert found(path.read_text()) == []
