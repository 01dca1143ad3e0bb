"""Name the items of the table and the entries of its indexes.

Every name has a length that the table takes, whatever a user chose as an id, a group or a key: what is long goes in by
its digest. A job has a row, which is found by its id, and a partition of its own for everything else. The name of that
partition has the number of the job, too: ids come back after a removal, numbers never do. So nothing that is late (a
process that stood still, a removal that is not done) can touch what belongs to another job of that id.
"""

from __future__ import annotations

from hashlib import sha256
from zlib import crc32

from msgspec import msgpack

from asyncjobs.core.lanes import Lane

_LONGEST = 900
"""Bytes of a name that stands in a key as it is: a sort key has 1,024."""
ROW = "M"
PARENTS = "D#"
LINKS = "L"
"""What the sort keys of both begin with by which the neighbours of a job are found."""
CHILD = "LC#"
SUBMITTED = "LS#"
QUESTION = "Q#"
ATTEMPT = "A#"
EVENTS = "E#"
PAGES = "Z#"
STEP = "X#"
STEPS_END = "X$"
META = ("META", "M")
LANES = "LANES"
LIMITS = "LIMITS"
OWNERS = "OWNERS"
WORKERS = "W"
GROUPS = "G"
OUTDATED = "OUTDATED"
"""Jobs that may have steps that no longer count."""
_HIGHEST_PRIORITY = 1 << 31


def named(prefix: str, name: str) -> str:
    """Return a key of this kind for a name: ``=`` before the name itself, ``~`` before its digest."""
    encoded = name.encode()
    return f"{prefix}={name}" if len(encoded) <= _LONGEST else f"{prefix}~{sha256(encoded).hexdigest()}"


def row(job_id: str) -> tuple[str, str]:
    """Return the key of a job's row."""
    return named("J", job_id), ROW


def owned(worker: str) -> str:
    """Return the partition of the jobs that only this worker can run."""
    return named("O", worker)


def hand(worker: str) -> str:
    """Return the partition of what a worker has in hand, if it is more than its item has."""
    return f"H#{worker}"


def id_in(partition: str) -> str | None:
    """Return the id that the partition of a row names; None if it has its digest only."""
    return partition[2:] if partition.startswith("J=") else None


def job(job_id: str, n: int) -> str:
    """Return the partition of everything that belongs to a job beside its row."""
    return named(f"N{number(n)}", job_id)


def child(n: int, job_id: str) -> str:
    """Return the sort key of a dependent, in the partition of the job on which it depends."""
    return CHILD + member(n, job_id)


def submitted(n: int, job_id: str) -> str:
    """Return the sort key of a job that was submitted from inside another one, in the partition of that."""
    return SUBMITTED + member(n, job_id)


def question(n: int, job_id: str) -> str:
    """Return the sort key of a gate, in the partition of the job whose body asked."""
    return QUESTION + member(n, job_id)


def member(n: int, job_id: str) -> str:
    """Return the sort key of a job among others, in the order of submission."""
    return f"{number(n)}#{named('J', job_id)}"


def shard(job_id: str, shards: int) -> int:
    """Return the shard of a job. Not ``hash``, which differs from process to process."""
    return crc32(job_id.encode()) % shards


def lane(of: Lane) -> str:
    """Return the short name of a lane."""
    return sha256(msgpack.encode(tuple(of))).hexdigest()[:16]


def number(n: int) -> str:
    """Return a number so that texts are ordered as numbers are."""
    return f"{n:020d}"


def rank(priority: int, n: int) -> str:
    """Return where a ready job stands in the order of claims."""
    return f"{_HIGHEST_PRIORITY - priority:010d}#{number(n)}"


def priority(rank_: str) -> int:
    """Return the priority of a job by where it stands in the order of claims."""
    return _HIGHEST_PRIORITY - int(rank_.partition("#")[0])


# -- partitions of the index of work: what some process has to do


def ready(lane_name: str, at: int) -> str:
    """Return the partition of the ready jobs of a lane."""
    return f"R#{lane_name}#{at}"


def limited(key: str) -> str:
    """Return the partition of the jobs that wait for a limit."""
    return named("K", key)


def delayed(at: int) -> str:
    """Return the partition of the jobs that wait for their time."""
    return f"T#{at}"


def deadlines(at: int) -> str:
    """Return the partition of the open gates that have a deadline."""
    return f"D#{at}"


def owed(at: int) -> str:
    """Return the partition of the ended jobs whose dependents are not all settled."""
    return f"O#{at}"


def staged(at: int) -> str:
    """Return the partition of the batches that are not done."""
    return f"B#{at}"


# -- partitions of the index of what there is


def live(at: int) -> str:
    """Return the partition of the jobs that have not ended."""
    return f"L#{at}"


def asking(at: int) -> str:
    """Return the partition of the open gates, and of the jobs that are parked on one."""
    return f"A#{at}"


def ended(status: str, at: int) -> str:
    """Return the partition of the jobs that ended so."""
    return f"{status}#{at}"


def unlogged(at: int) -> str:
    """Return the partition of the jobs whose newest events are not in the log yet."""
    return f"N#{at}"


# -- the log


def log_page(number: int) -> tuple[str, str]:
    """Return the key of a page of the log."""
    return f"L#{number}", ROW


def chunk(seq: int) -> str:
    """Return the sort key of a chunk of events, by the first of them."""
    return f"{EVENTS}{seq:010d}"


def page_number(number: int) -> str:
    """Return the number of a page as a sort key."""
    return f"{number:015d}"


def pages_of_job(first: int) -> str:
    """Return the sort key of a list of pages that have events of a job, by the first of them."""
    return PAGES + page_number(first)


def pages_of_group(group: str) -> str:
    """Return the partition of the pages that have events of a group."""
    return named("GL", group)
