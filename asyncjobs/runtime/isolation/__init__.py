"""Run jobs with ``isolation="process"``: the pool, its processes, and the protocol between them."""
