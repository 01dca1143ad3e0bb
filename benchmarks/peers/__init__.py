"""asyncjobs side by side with other job libraries: ``python -m benchmarks.peers --help``, or ``make bench-peers``."""
