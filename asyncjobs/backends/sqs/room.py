"""Count for how many more jobs the workers of this process have room: so many messages are polled for."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from msgspec import Struct


class _Room(Struct):
    """The free slots of a worker, as far as its claims tell, and the queues that it serves; None: all."""

    free: int = 0
    queues: Collection[str] | None = None


class Room:
    """The room of each worker of this process.

    A claim asks for all slots that are free, but for those that other claims on their way may fill. So what a claim did
    not fill stays free until a later one asks for as much; until then it adds to what others did not fill.
    """

    def __init__(self) -> None:
        self._workers: dict[str, _Room] = {}

    def begin(self, worker: str, limit: int, queues: Collection[str] | None) -> None:
        """Note that a claim asks for so many jobs: slots that earlier ones did not fill are among them."""
        room = self._workers.setdefault(worker, _Room())
        room.queues = queues
        if limit >= room.free:
            room.free = 0

    def end(self, worker: str, free: int) -> None:
        """Note that a claim left so many slots free."""
        if (room := self._workers.get(worker)) is not None:
            room.free += free

    def forget(self, worker: str) -> None:
        """Forget a worker that is gone."""
        self._workers.pop(worker, None)

    def __iter__(self) -> Iterator[tuple[str, int, Collection[str] | None]]:
        """Iterate over the workers that have room, each with its free slots and its queues."""
        return iter([(worker, room.free, room.queues) for worker, room in self._workers.items() if room.free])
