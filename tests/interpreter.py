"""A fresh Python to try things in that happen once a process: imports, forks, memory."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

# To be put before lines that call peak(): the most bytes that the process has held so far. Linux hands
# ru_maxrss on from the parent, which may have held more than the child ever will; VmHWM starts afresh.
PEAK_MEMORY = """
    import os, sys
    import numpy as np
    import fastsoftmax
    rng = np.random.default_rng(0)
    def peak():
        if os.path.exists("/proc/self/status"):
            with open("/proc/self/status") as lines:
                return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
        import resource
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
"""


def run_python(code, *arguments, timeout=180, **env):
    """Exit status, output and errors of a fresh interpreter that runs some lines."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    return done.returncode, done.stdout.strip(), done.stderr.strip()
