"""Report on a running program: its log."""
