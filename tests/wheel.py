"""The suite on the wheel: `python -m tests.wheel` builds it, and tries it where Numba cannot be imported.

The wheel is installed in an environment of its own, in a temporary folder; Numba and llvmlite are then taken
away, and the tests run without a compiler on the path, with a HOME that is empty and with
FASTSOFTMAX_KERNELS=compiled: a kernel that the wheel lacks is an error. What is given on the command line
goes to pytest, in place of the tests of all that does not compile: `python -m tests.wheel bench -k
fastsoftmax --benchmark-disable` runs what is benchmarked, once.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NEEDED = (
    "dask[array,dataframe]",
    "distributed",  # whose workers are to compile nothing either
    "hypothesis",
    "ml_dtypes",
    "mpmath",
    "pandas",
    "pyarrow",
    "pytest",
    "pytest-benchmark",
    "pytest-xdist",
)
# The dearest of what calls kernels: each of them is called by other files as well, with the same kinds of
# arguments, so that the library cannot lack one for these alone. The suite in the checkout runs them.
ELSEWHERE = (
    "estimator/test_memory.py",
    "estimator/test_offsets_and_scales.py",
    "estimator/test_real_data.py",
    "estimator/test_scikit_learns_own_tests.py",
    "functional/test_scipys_own_tests.py",
)
# Folders and files that are about compiling, about the checkout, or about other programs.
LEFT_OUT = (
    "aot",
    "bench",
    "cli",
    "data/blocks",
    "devices/test_protocols.py",  # of sources
    "docs",
    *ELSEWHERE,
    "fuzz",
    "kernels/cuda",
    "kernels/test_checked_kernels.py",
    "kernels/test_cuda.py",
    "kernels/test_cuda_ptx.py",
    "kernels/test_cuda_reports.py",
    "kernels/test_cuda_upload.py",
    "kernels/test_shared_gradient.py",
    "kernels/test_symbols.py",
    "kernels/test_top.py",
    "losses",
    "plot",
    "runtime",
    "simd",
)


def main(arguments: list[str]) -> int:
    """Return the exit status of pytest on the wheel."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = built(folder)
        python = installed(wheel, folder)
        return tested(python, folder, arguments)


def built(folder: Path) -> Path:
    """Build the wheel with compiled kernels; return its file."""
    environment = os.environ | {"FASTSOFTMAX_COMPILE": "1"}
    command = ["-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps", "-w", str(folder)]
    subprocess.run([sys.executable, *command, str(ROOT)], env=environment, check=True)
    (wheel,) = folder.glob("*.whl")
    print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.2f} MB", flush=True)
    return wheel


def installed(wheel: Path, folder: Path) -> Path:
    """Install the wheel, and what tests need, without Numba; return the environment's Python."""
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    python = folder / "venv" / "bin" / "python"
    pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", str(wheel), *NEEDED], check=True)
    subprocess.run([*pip, "uninstall", "--yes", "numba", "llvmlite"], check=True)
    return python


def tested(python: Path, folder: Path, arguments: list[str]) -> int:
    """Run pytest on a copy of the tests, beside which there is no package; return its exit status."""
    there = folder / "checkout"
    for name in ("tests", "bench"):
        shutil.copytree(ROOT / name, there / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", there)
    (folder / "home").mkdir()
    environment = {
        "PATH": str(python.parent),
        "HOME": str(folder / "home"),
        "LANG": "C.UTF-8",
        "FASTSOFTMAX_KERNELS": "compiled",
        "FASTSOFTMAX_DATA": str(os.environ.get("FASTSOFTMAX_DATA") or ROOT.parent / "shared" / "data"),
    }
    chosen = arguments or ["-n", "auto", "tests", *(f"--ignore=tests/{each}" for each in LEFT_OUT)]
    command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen]
    return subprocess.run(command, cwd=there, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
