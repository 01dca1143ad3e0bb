"""Fixtures of several modules: a table of SQS stores, and the emulator that has it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.unit.sqs_support import World, Worlds, worlds


@pytest.fixture
async def aws() -> AsyncIterator[Worlds]:
    async with worlds() as opened:
        yield opened


@pytest.fixture
async def table(aws: Worlds) -> World:
    return await aws.new()
