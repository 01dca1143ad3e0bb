"""The reference has every public name, and no other."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

from asyncjobs.models import EventType

PAGES = Path(__file__).resolve().parents[2] / "docs" / "reference"
MODULES = (
    "asyncjobs", "asyncjobs.client", "asyncjobs.compat", "asyncjobs.integrations.crewai", "asyncjobs.testing",
    "asyncjobs.web",
)  # fmt: skip
WHOLE = re.compile(r"^\.\. automodule:: (\S+)$", re.MULTILINE)
ONE = re.compile(r"^\.\. auto(?:class|exception|function|data):: (\S+)$", re.MULTILINE)


def named(pattern: re.Pattern[str]) -> list[str]:
    return [name for page in sorted(PAGES.glob("*.md")) for name in pattern.findall(page.read_text("utf-8"))]


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_there(module: str) -> None:
    if module in named(WHOLE):
        return
    assert {f"{module}.{name}" for name in import_module(module).__all__} <= set(named(ONE))


def test_no_name_is_there_twice_or_invented() -> None:
    names = named(ONE) + named(WHOLE)
    assert len(names) == len(set(names))
    for name in names:
        module, _, attribute = name.rpartition(".")
        try:
            found = import_module(name)
        except ModuleNotFoundError:
            found = getattr(import_module(module), attribute)
        assert found is not None


def test_every_page_is_in_the_contents() -> None:
    contents = (PAGES.parent / "index.md").read_text("utf-8")
    pages = {
        str(page.relative_to(PAGES.parent).with_suffix(""))
        for folder in ("guides", "explanation", "reference")
        for page in (PAGES.parent / folder).glob("*.md")
    }
    assert pages <= set(contents.split())


def test_every_type_of_event_is_in_the_table_of_frames() -> None:
    guide = (PAGES.parent / "guides" / "web.md").read_text("utf-8")
    [row] = re.findall(r"^\| (`submitted`.*?) \| an event of this type \|$", guide, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", row)) == {str(event) for event in EventType}


def test_every_type_of_event_is_in_the_reference_with_its_data() -> None:
    page = (PAGES / "events.md").read_text("utf-8")
    assert set(re.findall(r"^\| `(\w+)` \| ", page, re.MULTILINE)) >= {str(event) for event in EventType}
