"""``python -m benchmarks.peers.drive ADAPTER SECONDS SHARE SCENARIO…``: scenarios of one library, in its environment.

Each scenario is a line of JSON on the standard output, printed when it is over: figures, or why there are none.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
import traceback

from benchmarks.peers.harness import Adapter, Budget, CannotDoError, measure, ready
from benchmarks.peers.lines import LinesOut


async def run(name: str, budget: Budget, scenarios: list[str], out: LinesOut) -> None:
    """Run them one after the other, and write a line for each."""
    adapter: Adapter = importlib.import_module(f"benchmarks.peers.adapters.{name}").Peer()
    async with ready(adapter):
        for scenario in scenarios:
            out.say(await _one(adapter, scenario, budget))


async def _one(adapter: Adapter, scenario: str, budget: Budget) -> dict[str, object]:
    try:
        measured = await measure(adapter, scenario, budget)
    except CannotDoError as error:
        return {"scenario": scenario, "cannot": str(error)}
    except Exception as error:
        traceback.print_exc()
        return {"scenario": scenario, "failed": f"{type(error).__name__}: {error}"[:200]}
    return {"scenario": scenario, "jobs": measured.jobs, "figures": measured.figures}


def main() -> None:
    """Take the arguments."""
    out = LinesOut()
    name, seconds, share, *scenarios = sys.argv[1:]
    asyncio.run(run(name, Budget(float(seconds), float(share)), scenarios, out))


if __name__ == "__main__":
    main()
