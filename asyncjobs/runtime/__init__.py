"""Waits. The only place that starts anyio tasks."""
