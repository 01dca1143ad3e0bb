"""A detective comic drawn from a script file, as a graph of durable jobs."""
