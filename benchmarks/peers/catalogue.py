"""Who is compared: each library with its exact versions, its settings, its promises, and the server that it needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

Server = Literal["", "redis", "postgres"]
OURS = "asyncjobs"
LIMITS = "limits"
ONE_AT_A_TIME = "one at a time"


class Promise(Struct, frozen=True):
    """What one gets for the time: what figures alone do not show. What is synced begins with that word."""

    durable: str
    graph: str
    server: str
    results: str


class Peer(Struct, frozen=True):
    """One library.

    ``variants``: settings that it is measured with, each a row. ``durable``: how durable a job is with one of them, if
    that differs. ``about``: what is special about the settings.
    """

    name: str
    title: str
    requirements: tuple[str, ...]
    promise: Promise
    variants: tuple[str, ...] = ("",)
    server: Server = ""
    about: str = ""
    durable: Mapping[str, str] = {}


class Entry(Struct, frozen=True):
    """A row: a library with one of its settings."""

    peer: Peer
    variant: str

    @property
    def name(self) -> str:
        """Return what results are filed under: ``huey``, ``dbos tuned``."""
        return f"{self.peer.name} {self.variant}".strip()

    @property
    def title(self) -> str:
        """Return what people read."""
        return f"{self.peer.title}, {self.variant}" if self.variant else self.peer.title

    @property
    def promise(self) -> tuple[str, str, str, str]:
        """Return what one gets with these settings: durable, graph, server, results."""
        given = self.peer.promise
        return self.peer.durable.get(self.variant, given.durable), given.graph, given.server, given.results


_OURS = Peer(
    OURS,
    "asyncjobs",
    (),
    Promise("each commit, not synced", "yes", "none", "yes"),
    ("NORMAL", "FULL"),
    about="SQLite; 32 slots of the embedded daemon",
    durable={"FULL": "synced"},
)
_LIMITS = Peer(
    LIMITS,
    "limit",
    (),
    Promise("sqlite3: as asyncjobs", "–", "none", "–"),
    ("sqlite3 NORMAL", "sqlite3 FULL", "asyncio"),
    about="the rows of asyncjobs written by sqlite3 alone; the same coroutines started by asyncio alone",
)

_IN_MEMORY = "no: redis in memory"
PEERS = (
    Peer(
        "huey",
        "huey",
        ("huey==3.5.4",),
        Promise("synced", "chains, chords", "none", "yes, read once"),
        about="SQLite, fsync; one consumer with one thread, polls each millisecond",
    ),
    Peer(
        "taskiq",
        "taskiq",
        ("taskiq==0.13.0", "taskiq-redis==1.2.4", "redis==8.1.0"),
        Promise(_IN_MEMORY, "no", "redis", "yes"),
        server="redis",
        about="stream broker; results polled each millisecond",
    ),
    Peer(
        "saq",
        "SAQ",
        ("saq[hiredis,redis]==0.26.4", "redis==7.4.1", "hiredis==3.5.0", "typing-extensions==4.16.0"),
        Promise(_IN_MEMORY, "no", "redis", "yes"),
        server="redis",
    ),
    Peer(
        "arq",
        "arq",
        ("arq==0.28.0", "redis==5.3.1"),
        Promise(_IN_MEMORY, "no", "redis", "yes"),
        ("default", "tuned"),
        server="redis",
        about="default: polls twice a second; tuned: each 5 ms",
    ),
    Peer(
        "streaq",
        "streaQ",
        ("streaq==7.2.0", "coredis==6.9.0"),
        Promise(_IN_MEMORY, "yes", "redis", "yes"),
        server="redis",
    ),
    Peer(
        "celery",
        "Celery",
        ("celery[redis]==5.7.0", "redis==8.1.0"),
        Promise(_IN_MEMORY, "chains, chords", "redis", "yes"),
        server="redis",
        about="32 threads, acknowledged late",
    ),
    Peer(
        "pgqueuer",
        "PgQueuer",
        ("pgqueuer==1.6.0", "asyncpg==0.32.0"),
        Promise("synced", "no", "PostgreSQL", "no, only how it ended"),
        ("", ONE_AT_A_TIME),
        server="postgres",
        about="takes 100 jobs at a time, or one, and records how so many have ended at a time, or each 100 ms; its "
        "watcher gathers notifications for 5 ms",
    ),
    Peer(
        "dask",
        "Dask distributed",
        ("distributed==2026.8.0", "dask==2026.8.0"),
        Promise("no: in memory", "yes", "its own", "yes"),
        about="a process with 32 threads, the client on the loop",
    ),
    Peer(
        "dbos",
        "DBOS",
        ("dbos==3.4.0", "sqlalchemy==2.1.9"),
        Promise("synced", "steps of a workflow", "none", "yes"),
        ("default", "tuned"),
        about="SQLite, a queue of workflows; default: looks once a second; tuned: each 5 ms",
    ),
    Peer(
        "apscheduler",
        "APScheduler 4",
        ("apscheduler==4.0.0a6", "sqlalchemy[asyncio]==2.0.58", "aiosqlite==0.22.1", "sniffio==1.3.1"),
        Promise("synced", "no", "none", "yes"),
        about="an alpha; SQLite",
    ),
    Peer(
        "flexiq",
        "flexiq",
        ("flexiq==2.1.0",),
        Promise("each commit, not synced", "yes", "none", "yes"),
        ("default", "tuned"),
        about="SQLite; default: looks every 50 ms; tuned: each millisecond, takes 100 at a time",
    ),
    Peer(
        "prefect",
        "Prefect",
        ("prefect==3.9.1",),
        Promise("runs, later, in SQLite", "yes", "its own", "in memory"),
        about="tasks of one flow, its server in a process beside it",
    ),
)


def entries(peers: tuple[Peer, ...] = PEERS) -> list[Entry]:
    """Return the rows of these libraries."""
    return [Entry(peer, variant) for peer in peers for variant in peer.variants]


def ours() -> list[Entry]:
    """Return the rows of asyncjobs itself."""
    return entries((_OURS,))


def limits() -> list[Entry]:
    """Return the rows that nothing can be above."""
    return entries((_LIMITS,))
