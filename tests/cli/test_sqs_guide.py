"""The pages on the store on AWS are typed as they are printed, on an emulator, with a table of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from tests import sqs_server
from tests.architecture.pages import blocks_of
from tests.architecture.terminal import Terminal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    endpoint = sqs_server.endpoint()
    table = f"test-{uuid4().hex[:12]}"
    variables = {"ASYNCJOBS_SQS_TABLE": table, "ASYNCJOBS_SQS_QUEUE_URL": table, **sqs_server.environment()}
    if endpoint is not None:
        variables["ASYNCJOBS_SQS_ENDPOINT_URL"] = endpoint
    with ExitStack() as stack:
        yield Terminal(tmp_path, stack, variables)


@pytest.mark.parametrize("page", ["guides/sqs", "deployment/many-machines"])
def test_a_page_does_what_it_says_from_its_top_to_its_end(page: str, terminal: Terminal) -> None:
    terminal.save("tasks.py", "def draw_page(number: int) -> str: ...\n")  # that of the page on one host
    terminal.walk(blocks_of(page))
