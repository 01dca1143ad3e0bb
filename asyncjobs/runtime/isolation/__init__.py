"""Run jobs with ``isolation="process"``: the pool, its processes, and what is exchanged with them."""
