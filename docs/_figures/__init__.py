"""What pages show of figures that were measured: made of ``docs/figures``, by the benchmarks' own code."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))  # the benchmarks are no part of the package
