"""No message has a number before a noun that is always in the plural ("1 jobs"): ``asyncjobs.plurals`` writes both."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "asyncjobs"
_NOUNS = """attempts arguments batches bodies bytes calls characters children clients commits connections copies daemons
dependencies dependents edges entries errors events failures fields files folders frames functions groups handles hosts
ids interruptions items jobs levels limits lines matches messages modules names operations outcomes pages panels parents
parts processes processors queues readers records refusals requests results retries rows seconds settings slots streams
subscribers tables tasks threads tickets times tokens tries values warnings workers writers"""
_ADJECTIVES = "(?:(?:busy|earlier|failed|finished|free|live|more|newer|newest|other|pending|ready|running) )*"
_AGREES = re.compile(rf"^ {_ADJECTIVES}(?:{'|'.join(_NOUNS.split())}|are|were)\b")
_HOLE, _FIXED = "\0", "9"
"""What stands for a value in a text; a constant of the module is a number that is known, and not 1."""
PLURAL = {
    ("cli/demo.py", "{panels} panels"): "two or more",
    ("cli/demo.py", "{len(panels)} panels"): "two or more",
    ("cli/doctor.py", "{len(processes)} processes, of which"): "two or more",
    ("cli/doctor.py", "jobs of {name} are not run"): "a name, not a number",
    ("cli/doctor.py", "{more} more of the newest {len(newest):,} jobs"): "more than are shown",
    ("core/codec/refusals.py", "{len(data):,} bytes, more than"): "above a limit",
    ("core/codec/annotations.py", "the annotation of the {owner} names"): "a verb",
    ("exceptions.py", "{len(self.path) - 1} jobs would wait"): "a cycle of two or more",
    ("metadata_filters.py", "{len(several):,} values for"): "above a limit",
    ("metadata_filters.py", "{length:,} characters, and at most"): "above a limit",
    ("plurals.py", "{number:,} times"): "once is above it",
    ("runtime/answers.py", "1 to {longest} characters"): "a limit",
    ("runtime/context.py", "{size:,} bytes, more than"): "above a limit",
    ("runtime/child_keys.py", "1 to {longest} characters"): "a limit",
    ("runtime/child_keys.py", "({len(key)} characters)"): "more than 40",
    ("runtime/isolation/protocol.py", "{size:,} bytes, more than"): "above a limit",
    ("runtime/questions.py", "1 to {longest} characters"): "a limit",
    ("runtime/questions.py", "has {size:,} bytes, more than"): "above a limit",
    ("runtime/submission.py", "1 to {longest} characters"): "a limit",
    ("runtime/submission.py", "({len(value)} characters)"): "more than 40",
    ("web/app.py", "more than {most:,} bytes"): "a limit",
    ("web/call.py", "more than {most:,} bytes"): "a limit",
    ("web/call.py", "nested more than {most} levels"): "a limit",
}
"""Numbers that are never 1, and why."""


def _piece(part: ast.expr) -> str:
    if isinstance(part, ast.Constant):
        return str(part.value)
    value = part.value if isinstance(part, ast.FormattedValue) else part
    name = value.id if isinstance(value, ast.Name) else value.attr if isinstance(value, ast.Attribute) else ""
    return _FIXED if name.isupper() else _HOLE


def _messages(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Yield each text that has holes for values, with each hole as one character."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield node, "".join(map(_piece, node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "%d" in node.value:
            yield node, re.sub(r"%,?d", _HOLE, node.value)


def wrong(source: str) -> list[str]:
    """Return the texts of a module in which a number meets a noun in the plural."""
    found: list[str] = []
    for node, text in _messages(ast.parse(source)):
        for hole in re.finditer(_HOLE, text):
            if _AGREES.match(text[hole.end() :]):
                found.append(ast.get_source_segment(source, node) or text)
    return found


@pytest.mark.parametrize(
    "source",
    [
        'logger.info("%d jobs of dead workers are pending again", n)',
        'logger.info("… and %d more jobs submitted with them", n)',
        'f"{len(matched)} jobs match"',
        'f"it failed {n} times"',
        'f"{size:,} earlier events left out"',
        'f"all {slots} slots are busy"',
        'f"at most 3 arguments, and {n} were given"',
    ],
)
def test_the_form_is_found(source: str) -> None:
    assert len(wrong(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        """f"{counted(n, 'job')} removed\"""",
        'f"jobs of {name} wait"',
        'logger.info("child process %d does not end", pid)',
    ],
)
def test_other_texts_are_left_alone(source: str) -> None:
    assert wrong(source) == []


def test_numbers_agree_with_their_nouns() -> None:
    found = [
        (str(file.relative_to(PACKAGE)), text)
        for file in sorted(PACKAGE.rglob("*.py"))
        for text in wrong(file.read_text())
    ]
    known = {(file, text) for file, text in found for name, part in PLURAL if file == name and part in text}
    assert [item for item in found if item not in known] == []
    unused = [key for key in PLURAL if not any(file == key[0] and key[1] in text for file, text in found)]
    assert unused == []
