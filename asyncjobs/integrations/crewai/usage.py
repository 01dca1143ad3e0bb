"""Count what the calls of a run have cost: tokens and requests that were paid, and those that were replayed."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, cast

_COUNTED = (
    "total_tokens",
    "prompt_tokens",
    "completion_tokens",
    "cached_prompt_tokens",
    "reasoning_tokens",
    "cache_creation_tokens",
)
_By = tuple[str | None, str | None]


def tokens_of(usage: object) -> dict[str, int]:
    """Return the counters in what a call reports of itself; none, if it reports nothing."""
    if not isinstance(usage, Mapping):
        return {}
    fields = cast("Mapping[str, Any]", usage)
    counts: dict[str, int] = {}
    for name in _COUNTED:
        value = fields.get(name)
        if isinstance(value, int) and value > 0:
            counts[name] = value
    return counts


class Usage:
    """What a run has cost, by role and task. Counted from any thread.

    :param whole: the usage of the attempt, of which the run is a part; each call is counted there, too.
    """

    def __init__(self, whole: Usage | None = None) -> None:
        self._whole = whole
        self._lock = threading.Lock()
        self._paid: dict[_By, dict[str, int]] = {}
        self._replayed: dict[str, int] = {}

    def pay(self, role: str | None, task: str | None, tokens: Mapping[str, int]) -> None:
        """Count a call that was made."""
        with self._lock:
            _add(self._paid.setdefault((role, task), {}), tokens)
        if self._whole is not None:
            self._whole.pay(role, task, tokens)

    def replay(self, tokens: Mapping[str, int]) -> None:
        """Count a call whose answer an earlier attempt has paid."""
        with self._lock:
            _add(self._replayed, tokens)
        if self._whole is not None:
            self._whole.replay(tokens)

    def report(self, *, final: bool) -> dict[str, Any]:
        """Return the data of a ``usage`` event: all so far, not what came since the last one."""
        with self._lock:
            total: dict[str, int] = {}
            for counts in self._paid.values():
                for name, number in counts.items():
                    total[name] = total.get(name, 0) + number
            by = [{"role": role, "task": task, **counts} for (role, task), counts in self._paid.items()]
            return {"final": final, "paid": total, "replayed": dict(self._replayed), "by": by}

    def metrics(self) -> dict[str, int]:
        """Return what all of its answers have cost, paid in this attempt or before, as ``UsageMetrics`` names it."""
        data = self.report(final=True)
        counts = {name: data["paid"].get(name, 0) + data["replayed"].get(name, 0) for name in (*_COUNTED, "requests")}
        counts["successful_requests"] = counts.pop("requests")
        return counts


def _add(counts: dict[str, int], tokens: Mapping[str, int]) -> None:
    counts["requests"] = counts.get("requests", 0) + 1
    for name, number in tokens.items():
        counts[name] = counts.get(name, 0) + number
