"""Say where the call and the result of a job are stored: small ones in its row in ``jobs``, larger ones beside it.

So a job that is submitted, run and read touches one table and not three, and the rows that claims and pages read stay
short. Files of older versions have all of them beside the rows, where they are read as well.
"""

from __future__ import annotations

SMALL = 400
"""Bytes up to which a call with its metadata, and a result, are stored in the row of their job."""

JOIN_CALL = "LEFT JOIN calls_apart c ON c.n = CASE WHEN j.call IS NULL THEN j.n END"
"""SQL: join the call of the job ``j``, if it is not in its row."""
JOIN_RESULT = "LEFT JOIN results_apart r ON r.n = CASE WHEN j.status = 2 AND j.result IS NULL THEN j.n END"
"""SQL: join the result of the job ``j``, if it has one that is not in its row."""
INJECTS = "ifnull(j.injects, c.injects)"
ISOLATION = "ifnull(j.isolation, c.isolation)"
METADATA = "ifnull(j.metadata, c.metadata)"
CALL = "ifnull(j.call, c.call)"
RESULT = "CASE WHEN j.status = 2 THEN ifnull(j.result, r.value) END"
