"""Wait for and run jobs. Only this package starts anyio tasks."""
