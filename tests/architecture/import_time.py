"""What ``import asyncjobs`` costs: milliseconds of processor time, the best of several fresh interpreters.

Processor time, because the time on the wall is also that of whatever else the machine does; on a quiet one they are
the same.
"""

from __future__ import annotations

import subprocess
import sys

LIMIT = 150.0
_CODE = "import time; t = time.process_time(); import asyncjobs; print((time.process_time() - t) * 1000)"


def measure(runs: int = 12) -> float:
    """Milliseconds of the fastest of ``runs`` fresh interpreters."""
    return min(
        float(subprocess.run([sys.executable, "-c", _CODE], capture_output=True, text=True, check=True).stdout)
        for _ in range(runs)
    )


if __name__ == "__main__":
    best = measure()
    print(f"import asyncjobs: {best:.0f} ms (limit {LIMIT:.0f} ms)")
    sys.exit(best > LIMIT)
