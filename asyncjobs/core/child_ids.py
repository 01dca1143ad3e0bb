"""Derive the ids of jobs that are submitted by other jobs: the same call of the same parent gives the same id."""

from __future__ import annotations

LONGEST_PATH = 128
"""The length in characters up to which a child's id shows the ids of all its ancestors."""
_LONGEST_ROOT = 64
_LONGEST_STEP = 64


def child_id(parent_id: str, key: str) -> str:
    """Return ``<parent>/<key>``; if that would be long, ``<root>/~<digest of the parent's id>/<key>``.

    So ids do not grow with the depth: a job may submit its own successor any number of times.
    """
    path = f"{parent_id}/{key}"
    return path if len(path) <= LONGEST_PATH else _deep(parent_id) + key


def step_child(key: str, number: int) -> str:
    """Return the key of a child that the function of a step submits without one: ``~<key of the step>~/<number>``.

    What surrounds the key keeps it from being the id of another child, or of a child of one. A key that is long, or has
    characters that an id cannot have, is replaced by its digest.
    """
    if len(key) > _LONGEST_STEP or not key.isprintable():
        key = _digest(key)
    return f"~{key}~/{number}"


def path_before(parent_id: str, job_id: str) -> str | None:
    """Return the id that an earlier version gave this child; None if it is the same or could not be stored."""
    deep = _deep(parent_id)
    if not job_id.startswith(deep):
        return None
    path = f"{parent_id}/{job_id[len(deep) :]}"
    return path if len(path) <= 512 else None


def _deep(parent_id: str) -> str:
    root = parent_id.partition("/")[0][:_LONGEST_ROOT]
    return f"{root}/~{_digest(parent_id)}/"


def _digest(text: str) -> str:
    from hashlib import blake2b  # here: few programs need it, and it loads OpenSSL

    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def longest_key(parent_id: str, longest_id: int) -> int:
    """Return how many characters the key of a child may have, so that its id has no more than ``longest_id``."""
    return longest_id - (len(child_id(parent_id, "k" * longest_id)) - longest_id)
