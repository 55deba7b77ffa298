"""`python -m tests.backends`: the tests of backends, with the real libraries, in an environment of its own.

    python -m tests.backends [FOLDER] [pytest's arguments]

Makes a virtual environment in FOLDER (default .backends-env) where there is none, installs this checkout and
what `PINNED` names there, and runs `TESTS`. Some 3 GB and five minutes at first; a minute later on.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PINNED = (
    # PyTorch before what would choose another one.
    ("torch==2.13.0",),
    (
        "array-api-strict==2.6.1",
        "catboost==1.2.10",
        "lightgbm==4.7.0",
        "onnx==1.23.2",
        "onnxruntime==1.32.0",
        "skl2onnx==1.20.0",
        "xgboost-cpu==3.2.0",
    ),
)
TESTS = "tests/backends", "tests/estimator/test_array_api.py"


def main() -> int:
    arguments = sys.argv[1:]
    own = arguments[:1] if arguments and not arguments[0].startswith("-") else []
    folder = Path(own[0]) if own else ROOT / ".backends-env"
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        for packages in (*PINNED, ("-e", f"{ROOT}[test]")):
            subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "FASTSOFTMAX_BACKENDS": "1"}
    command = [python, "-m", "pytest", "-q", *TESTS, *arguments[len(own) :]]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
