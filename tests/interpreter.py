"""A fresh Python to try things in that happen once a process: imports, forks, memory."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap


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
