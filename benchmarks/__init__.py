"""Benchmarks: ``python -m benchmarks --help``. What they measure, and how to read it, is in ``README.md``."""
