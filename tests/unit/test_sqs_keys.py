"""Names of every kind and length find their items: what a key does not take goes in by its digest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from asyncjobs.backends.sqs import keys
from asyncjobs.backends.sqs.backend import SQSBackend
from asyncjobs.core.requests import Keep
from asyncjobs.models import EdgeState, Outcome, OutcomeKind
from tests import sqs_server
from tests.conformance.gates import ask, gate
from tests.conformance.support import Dump, Hand, Store, comparable, maker, new
from tests.sqs_capacity import CountingClient


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


LONG = 512
"""Characters of the longest id."""
NAMES = {
    "four bytes": "🎬" * LONG,
    "the last character": "\U0010ffff" * LONG,
    "no characters": "\ufffe\uffff\ufdd0" * 100,
    "control": "\x01\x02\n\r\t\x1f\x7f\x85",
    "what keys are made of": "=~#J=N#LC#$+ '\"\\%{}[]",
    "one": ".",
    "the longest that is a key": "k" * 900,
    "one byte more": "k" * 901,
}


@pytest.mark.parametrize("name", NAMES.values(), ids=list(NAMES))
def test_every_key_is_as_short_as_dynamodb_needs(name: str) -> None:
    n = 2**63 - 1
    partitions = [keys.row(name)[0], keys.owned(name), keys.job(name, n), keys.limited(name), keys.pages_of_group(name)]
    orders = [keys.child(n, name), keys.submitted(n, name), keys.question(n, name), keys.member(n, name)]
    orders += [keys.named("G", name), keys.named("K", name)]  # of the lists of groups and of limits
    assert max(len(key.encode()) for key in partitions) <= 2048
    assert max(len(key.encode()) for key in orders) <= 1024


def test_names_that_differ_have_keys_that_differ() -> None:
    names = [*NAMES.values(), *(name[:-1] + "x" for name in NAMES.values()), "~", "=", "=~", "~=", ""]
    digests = [keys.row(name)[0][2:] for name in names if keys.row(name)[0].startswith("J~")]
    assert digests
    names += digests  # one that is named as another's digest
    distinct = list(dict.fromkeys(names))
    assert len({keys.row(name) for name in distinct}) == len(distinct)


async def history(store: Store, name: str) -> Dump:
    """Use a name as whatever an item is found by, and one that differs in its last character beside it."""
    twin = name[:-1] + "-"
    everywhere: dict[str, Any] = {"group": name, "queue": name, "function": name, "limit": (name, 1)}
    await store.submit(new(name, **everywhere), new(twin, name, **everywhere | {"group": twin}), gate("g"))
    worker = (await store.hand()).id
    hand = Hand(store, worker, functions=(name,))
    assert await hand.claim(queues=(name,)) == [name]
    child = name[:-2] + "+"
    await store.submit(new(child, name, function=name), parent=hand.held[name])
    key = name[:200]
    assert list(await store.backend.write_steps([Keep(hand.held[name], key, b"kept")])) == [None]
    assert await store.backend.read_step(name, key) == b"kept"
    await ask(store, hand.held[name])
    await hand.end(name, Outcome(OutcomeKind.SUCCEEDED, value=b"x" * 1000))
    assert await store.edges(twin) == {name: EdgeState.MET}
    assert sorted(await hand.claim()) == sorted([twin, child])
    await hand.succeed(twin, child)
    await store.submit(replace(new(name, **everywhere), if_exists="return"))
    for group, events in ((name, 4), (twin, 3)):
        assert len(await store.events(group=group)) == events
    assert len(await store.events(name)) >= 3
    limit = await store.backend.get_limit(name)
    assert limit is not None
    assert limit.capacity == 1
    return await store.dump()


@pytest.mark.anyio
@pytest.mark.parametrize("name", NAMES.values(), ids=list(NAMES))
async def test_a_history_with_such_names_is_that_of_sqlite(name: str, tmp_path: Path) -> None:
    sqlite = maker("sqlite", tmp_path)
    async with Store(sqlite) as store:
        wanted = await history(store, name)
    config = sqs_server.config(shards=2)

    def sqs(clock: Any) -> SQSBackend:
        return SQSBackend(config, clock=clock)

    async with Store(sqs) as store:
        table = store.backend._parts.transitions.table
        table._client = CountingClient(table._client)  # refuses keys that are too long, which the emulator does not
        found = await history(store, name)
        ids = [job.id for job in await store.jobs()]
        await store.backend.cancel_jobs(ids)
        assert sorted(await store.backend.remove_jobs(ids)) == sorted(ids)
        assert await store.jobs() == []
    wanted, found = comparable([(sqlite, wanted), (sqs, found)])
    assert found == wanted
