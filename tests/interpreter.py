"""A fresh Python to try things in that happen once a process: imports, forks, memory."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

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


LAYERS = ("workqueue", "omp", "tbb")  # that Numba can run a `prange` on


def layered(*executors):
    """Executors, each with the layers to try it on: one without a `prange` needs none, and is tried once."""
    return [
        (name, layer)
        for name in executors
        for layer in (LAYERS if name in ("auto", "prange") else LAYERS[:1])
    ]


def run_python(code, *arguments, timeout=180, cwd=None, **env):
    """Exit status, output and errors of a fresh interpreter that runs some lines.

    TimeoutExpired if it takes longer than so many seconds; it and its children are then ended.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        cwd=cwd,  # modules are looked for there first
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            # Its children hold the other ends of the pipes: they have to go with it.
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            raise
    return process.returncode, out.strip(), err.strip()


@functools.cache
def environment_of(layer):
    """What to put into the environment for Numba to run on a layer; None where that does not load."""
    env = {"NUMBA_THREADING_LAYER": layer}
    if layer == "tbb":  # the library of its wheel is not on the loader's path
        folders = (f"{sys.prefix}/lib", os.environ.get("LD_LIBRARY_PATH"))
        env["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, folders))
    code = "import numba; numba.get_num_threads(); print(numba.threading_layer())"
    status, out, _ = run_python(code, **env)
    return env if (status, out) == (0, layer) else None
