"""Numba's cache for the benchmarks, a folder of their own. Import it before anything that imports Numba."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# One folder for all versions of the sources: each kernel is sealed with those that go into it. A folder that
# is named already stays: Numba reads the variable whenever it compiles, and would go on in another folder.
os.environ.setdefault("NUMBA_CACHE_DIR", str(ROOT / ".numba-cache" / "bench"))
