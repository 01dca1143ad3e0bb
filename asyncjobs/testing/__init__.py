"""Provide helpers for tests: a clock that is moved by hand, a store that fails on request, random graphs.

Nothing in the package imports them, except ``demo_adapter`` for jobs that name it.
"""

from asyncjobs.testing.clocks import ManualClock
from asyncjobs.testing.faults import FaultyBackend
from asyncjobs.testing.graphs import random_graph

__all__ = ["FaultyBackend", "ManualClock", "random_graph"]
