"""Every page with blocks is run by a test, and what is not run is known: the pages under docs, but for the records."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from tests.architecture.pages import DOCS, ROOT, blocks_of, left_out, pages_in

FOLDERS = ("tutorial", "guides", "deployment", "migration", "explanation", "reference")
PAGES = [page for folder in FOLDERS for page in pages_in(folder)]
BLOCKS = [block for page in PAGES for block in blocks_of(page)]
RUN_BY = {
    "tests/architecture/test_guide_programs.py": re.compile(
        r"guides/(retries|cancelling|graphs|testing|isolation|logging|retention)"
    ),
    "tests/architecture/test_typed_pages.py": re.compile(r"guides/(web|access|daemon|sqs)"),
    "tests/architecture/test_migration_programs.py": re.compile(
        r"(migration|deployment)/.+|explanation/(choosing-a-backend|performance)"
    ),
    "tests/architecture/test_tutorial.py": re.compile(r"tutorial/.+"),
    "tests/architecture/test_job_guides.py": re.compile(r"guides/(asking|options|reporting|steps|tracker|values)"),
    "tests/crewai/test_guide.py": re.compile(r"guides/crewai"),
    "tests/cli/test_explain.py": re.compile(r"reference/commands"),  # written from examples, which it runs
}
"""The test of each page that has blocks."""
DRAWN = {"explanation/architecture"}
"""Pages whose blocks are drawings."""
NOT_RUN = Counter(
    {
        "migration/arq": 1,  # these five: programs of the other library
        "migration/celery": 1,
        "migration/dbos": 1,
        "migration/rq": 2,
        "migration/taskiq": 1,
        "deployment/one-host": 7,  # systemd as root, Docker, a proxy, a download
    }
)
"""How many blocks of a page are marked with ``<!-- not run: REASON -->``."""


@pytest.mark.parametrize("page", sorted({block.page for block in BLOCKS} - DRAWN))
def test_a_page_with_blocks_has_one_test_that_runs_them(page: str) -> None:
    [test] = [test for test, pages in RUN_BY.items() if pages.fullmatch(page)]
    assert (ROOT / test).is_file()


def test_only_these_blocks_are_not_run() -> None:
    assert Counter(page for page, _ in left_out(BLOCKS)) == NOT_RUN


def test_every_column_has_a_head() -> None:
    """A reader who hears a table hears the head of each column first."""
    rows = re.compile(r"^(\|.*\|)\n\|[-: |]+\|$", re.MULTILINE)
    heads = [(page, head) for page in ("index", *PAGES) for head in rows.findall((DOCS / f"{page}.md").read_text())]
    assert len(heads) > 50
    assert [(page, head) for page, head in heads if re.search(r"\|\s*\|", head)] == []


def test_no_block_is_overlooked() -> None:
    """A block in a list, or with another fence, would be no block to the tests."""
    for page in PAGES:
        text = (DOCS / f"{page}.md").read_text("utf-8")
        fences = re.findall(r"^[ >]*(?:```|~~~)", text, re.MULTILINE)
        directives = re.findall(r"^```\{", text, re.MULTILINE)
        assert fences == ["```"] * (2 * len(blocks_of(page)) + 2 * len(directives)), page
