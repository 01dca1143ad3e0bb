"""Helpers for tests: a clock that is moved by hand, a store that fails when told to, random graphs.

Nothing of the package imports them.
"""

from asyncjobs.testing.clocks import ManualClock
from asyncjobs.testing.faults import FaultyBackend
from asyncjobs.testing.graphs import random_graph

__all__ = ["FaultyBackend", "ManualClock", "random_graph"]
