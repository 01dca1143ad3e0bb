"""Keep jobs in memory: the readable reference of the contract."""

from asyncjobs.backends.memory.backend import MemoryBackend

__all__ = ["MemoryBackend"]
