"""Decide policy. No await, clock, randomness, logging or I/O: time and jitter are arguments, rows come from a view."""
