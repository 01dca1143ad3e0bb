"""AWS that refuses connections, or takes them and answers nothing: a caller knows in time, and what it was about."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack

import anyio
import pytest

from asyncjobs import BackendConnectionError, JobProcessor, SQSConfig
from asyncjobs.backends.sqs import clients as sqs_clients
from asyncjobs.backends.sqs.backend import SQSBackend
from asyncjobs.backends.sqs.concurrent import at_once
from asyncjobs.backends.sqs.parts import Parts
from asyncjobs.config import BackendConfig
from tests import sqs_server
from tests.faults.doors import Door
from tests.faults.storm_bodies import add

pytestmark = [pytest.mark.slow, pytest.mark.anyio, pytest.mark.timeout(120)]

REFUSED_WITHIN, SILENT_WITHIN = 10, 45
"""Seconds in which a caller must know."""
SHORT = 1
"""Seconds instead of ``READ``: what is tried, and how often, stays as it is."""


@pytest.fixture
def doors(monkeypatch: pytest.MonkeyPatch) -> Generator[dict[str, Door]]:
    """The doors to DynamoDB and to SQS, which are open."""
    address = sqs_server.endpoint()
    if not address:
        pytest.skip("the doors stand before an emulator")
    made = {service: Door(address) for service in ("DYNAMODB", "SQS")}
    for service, door in made.items():
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", door.address)
    monkeypatch.setattr(sqs_clients, "READ", SHORT)
    yield made
    for door in made.values():
        door.close()


@pytest.fixture
async def config(doors: dict[str, Door]) -> SQSConfig:
    """A table that is there."""
    config = sqs_server.config(endpoint_url=None)
    backend = SQSBackend(config)
    await backend.open()
    await backend.close()
    return config


async def test_a_submission_that_is_refused_names_its_request_in_time(
    doors: dict[str, Door], config: SQSConfig
) -> None:
    async with JobProcessor(config, enable_daemon=False) as jp:
        began = time.monotonic()
        with doors["DYNAMODB"].shut(), pytest.raises(BackendConnectionError) as error:
            await jp.submit_job(add, 1, 1, job_id="a")
        assert time.monotonic() - began < REFUSED_WITHIN
        assert error.value.request
        [again] = await jp.submit_jobs(error.value.request, if_exists="return")
        assert again.id == "a"


async def test_a_submission_that_is_swallowed_names_its_request_and_is_not_sent_again_and_again(
    doors: dict[str, Door], config: SQSConfig
) -> None:
    async with JobProcessor(config, enable_daemon=False) as jp:
        began = time.monotonic()
        with (
            doors["DYNAMODB"].swallowing(),
            pytest.raises(BackendConnectionError, match="not answered in time") as error,
        ):
            await jp.submit_job(add, 1, 1, job_id="a")
        assert time.monotonic() - began < 5 * SHORT * sqs_clients.TRIES
        assert error.value.request


def test_the_configured_limits_keep_within_45_seconds() -> None:
    submissions = BackendConfig().tries
    assert sqs_clients.READ * sqs_clients.TRIES + 5 < SILENT_WITHIN, "a call that is not answered is not repeated"
    assert sqs_clients.CONNECT * sqs_clients.TRIES * submissions + 10 < SILENT_WITHIN
    assert sqs_clients.CONNECT + sqs_clients.UPLOAD < SILENT_WITHIN


@pytest.mark.parametrize("service", ["DYNAMODB", "SQS"])
async def test_opening_without_one_of_the_services_is_an_error_that_names_it(
    service: str, doors: dict[str, Door], config: SQSConfig
) -> None:
    backend = SQSBackend(SQSConfig(table=config.table, queue_url=config.queue_url, region=config.region))
    name = {"DYNAMODB": "DynamoDB", "SQS": "SQS"}[service]
    began = time.monotonic()
    with doors[service].shut(), pytest.raises(BackendConnectionError, match=f"{name} .* could not be reached"):
        await backend.open()
    assert time.monotonic() - began < REFUSED_WITHIN
    with doors[service].swallowing(), pytest.raises(BackendConnectionError, match=f"{name} .* not answered in time"):
        await backend.open()
    await backend.open()  # nothing is left of the tries
    await backend.close()


class LateSQSBackend(SQSBackend):
    """A store whose table goes away once it is open, in a way that ``away`` begins. ``calls`` are made after that."""

    def __init__(self, config: SQSConfig, away: Callable[[], AbstractContextManager[None]]) -> None:
        super().__init__(config)
        self._away = away
        self.gone = ExitStack()
        self.calls: list[str] = []

    async def _connect(self) -> Parts:
        parts = await super()._connect()
        parts.clients.dynamodb.meta.events.register("before-call", lambda model, **_: self.calls.append(model.name))
        self.gone.enter_context(self._away())
        return parts


@pytest.mark.parametrize("how", ["shut", "swallowing"])
async def test_a_start_waits_for_a_store_that_has_gone_away_no_longer_than_one_call(
    how: str, doors: dict[str, Door], config: SQSConfig
) -> None:
    settings = SQSConfig(table=config.table, queue_url=config.queue_url, region=config.region)
    backend = LateSQSBackend(settings, getattr(doors["DYNAMODB"], how))
    with backend.gone, pytest.raises(BackendConnectionError, match="DynamoDB UpdateItem|DynamoDB PutItem"):
        async with JobProcessor(backend):
            raise AssertionError("it has no worker")
    registering = [call for call in backend.calls if call in ("PutItem", "UpdateItem")]
    assert len(registering) == 1, "and no look for workers that are gone before it"
    async with JobProcessor(settings) as jp:
        assert await (await jp.submit_job(add, 1, 1)) == 2


async def test_many_calls_do_not_each_wait_for_an_answer_that_does_not_come() -> None:
    begun: list[int] = []

    async def silent(number: int) -> None:
        begun.append(number)
        await anyio.lowlevel.checkpoint()
        raise BackendConnectionError("not answered in time", transient=False)

    with pytest.raises(BackendConnectionError):
        await at_once(silent, range(1000))
    assert len(begun) <= 32, "as many as were under way when the first one ended"
