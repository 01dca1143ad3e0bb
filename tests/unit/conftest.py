"""Fixtures of several modules: a table of SQS stores, and the emulator that has it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # without the extra ``sqs``, the modules that want these are skipped
    from tests.unit.sqs_support import World, Worlds


@pytest.fixture
async def aws() -> AsyncIterator[Worlds]:
    from tests.unit.sqs_support import worlds

    async with worlds() as opened:
        yield opened


@pytest.fixture
async def table(aws: Worlds) -> World:
    return await aws.new()
