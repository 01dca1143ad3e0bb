"""What is told about a running program: its log."""
