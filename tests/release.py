"""A release rehearsed: `python -m tests.release` builds what is uploaded, checks it, and tries it installed.

The source distribution is made from the checkout, and the wheel from the source distribution, with compiled
kernels (FASTSOFTMAX_COMPILE=1; a C compiler). `twine check --strict` reads both. Then, for each Python given
(`--python python3.12`, repeated; by default the one that runs this), two environments of their own: one with
the wheel, one with the source distribution as pip builds it, which compiles kernels when they are first
needed. Both run a fit, a prediction, a saved model and the command line, away from the checkout. `--suite`
runs on the wheel what `python -m tests.wheel` runs.

`--lowest` installs the lowest version of each dependency that pyproject.toml admits, with the package from
the checkout, and runs the tests named below (or those given): a bound that is too low shows there. It takes
the Python that it is given, which has to be one that those versions know.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from tests.wheel import installed, tested

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parents[1]
QUIET = ("-m", "pip", "--quiet", "--disable-pip-version-check")
# What a release has to do first: the same lines for the wheel and the source distribution.
TRIAL = """
import sys
import tempfile
from pathlib import Path

import numpy as np

import fastsoftmax
from fastsoftmax import SoftmaxRegression, kernels_info, softmax

assert Path(fastsoftmax.__file__).is_relative_to(sys.prefix), fastsoftmax.__file__
rng = np.random.default_rng(0)
X = rng.standard_normal((500, 8))
y = np.array(["a", "b", "c"])[(X @ rng.standard_normal((8, 3))).argmax(axis=1)]
model = SoftmaxRegression().fit(X, y)
assert model.duality_gap_ <= model.tol * model.objective_
with tempfile.TemporaryDirectory() as folder:
    model.save(Path(folder, "model.safetensors"))
    again = fastsoftmax.load(Path(folder, "model.safetensors"))
assert np.array_equal(again.predict(X), model.predict(X))
assert np.allclose(softmax(X, axis=1).sum(axis=1), 1.0)
print(f"fastsoftmax {fastsoftmax.__version__}, Python {sys.version.split()[0]}: {kernels_info()}")
"""
# Of the suite, what calls the dependencies' interfaces: NumPy's and SciPy's arrays, scikit-learn's classes,
# Numba's compiler and caches, safetensors' files.
LOWEST = (
    "tests/estimator/test_softmax_regression.py",
    "tests/estimator/test_scikit_learn.py",
    "tests/estimator/test_cross_validation.py",
    "tests/functional/test_softmaxes.py",
    "tests/persistence/test_container.py",
    "tests/runtime/test_private_parts.py",
    "tests/runtime/test_kernel_cache.py",
)
# They compare with what scikit-learn 1.9 and SciPy 1.17 answer, which the lowest versions answer otherwise: a
# fold that lacks a class, attributes without a refit, warnings, dtypes of probabilities, arrays of objects.
NEWER = (
    "tests/estimator/test_scikit_learn.py::test_predictions_have_the_shapes_and_dtypes_of_logistic_regression",
    "tests/estimator/test_cross_validation.py::test_options[no refit]",
    "tests/estimator/test_cross_validation.py::test_options[no refit, legacy]",
    "tests/estimator/test_cross_validation.py::test_ratios[no refit]",
    "tests/estimator/test_cross_validation.py::test_held_out_rows_that_lack_a_class",
    "tests/estimator/test_cross_validation.py::test_no_penalty_is_a_C_as_well",
    "tests/functional/test_softmaxes.py::test_dtypes_without_conversion",
)


def main(arguments: Sequence[str]) -> int:
    """Rehearse; 0 if all went well."""
    parser = argparse.ArgumentParser(prog="python -m tests.release", description=__doc__.splitlines()[0])
    parser.add_argument("--python", action="append", metavar="COMMAND", help="a Python to install into")
    parser.add_argument("--suite", action="store_true", help="run the tests on the wheel as well")
    parser.add_argument("--keep", metavar="FOLDER", help="copy what is uploaded here, if all went well")
    parser.add_argument(
        "--lowest", action="store_true", help="the lowest versions of what is needed, instead"
    )
    parser.add_argument("tests", nargs="*", help="with --lowest: what pytest runs")
    options = parser.parse_args(arguments)
    pythons = options.python or [sys.executable]
    if options.lowest:
        return max(lowest(python, options.tests or LOWEST) for python in pythons)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, wheel = built(folder)
        for python in pythons:
            for file in (wheel, source):
                tried(python, file, folder)
        if options.suite and (status := tested(installed(wheel, folder), folder, [])):
            return status
        if options.keep:
            shutil.copytree(folder / "dist", options.keep, dirs_exist_ok=True)
    return 0


def built(folder: Path) -> tuple[Path, Path]:
    """Build the source distribution, and the wheel from it; return both files, checked."""
    with environment(sys.executable) as python:
        run(python, *QUIET, "install", "build>=1.2", "twine>=6.0")
        with_kernels = os.environ | {"FASTSOFTMAX_COMPILE": "1"}
        run(python, "-m", "build", "--outdir", str(folder / "dist"), str(ROOT), env=with_kernels)
        files = sorted((folder / "dist").iterdir())
        run(python, "-m", "twine", "check", "--strict", *map(str, files))
    (source,) = (file for file in files if file.name.endswith(".tar.gz"))
    (wheel,) = (file for file in files if file.suffix == ".whl")
    for file in files:
        print(f"{file.name}: {file.stat().st_size / 1e6:.2f} MB", flush=True)
    return source, wheel


def tried(command: str, file: Path, folder: Path) -> None:
    """Install a file into an environment of its own, and use it there, away from the checkout."""
    with environment(command) as python:
        run(python, *QUIET, "install", f"{file}[cli]")
        home = folder / "home"
        home.mkdir(exist_ok=True)
        env = {"PATH": f"{python.parent}:{os.environ['PATH']}", "HOME": str(home), "LANG": "C.UTF-8"}
        run(python, "-c", TRIAL, env=env, cwd=home)
        command_line = [str(python.parent / "fastsoftmax"), "fit", "iris", "--out", str(home / "iris")]
        subprocess.run(command_line, env=env, cwd=home, check=True)
        shutil.rmtree(home)  # with the kernels that it has compiled


def lowest(command: str, chosen: Sequence[str]) -> int:
    """Return the exit status of pytest with the lowest versions that pyproject.toml admits."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    needed = [each for each in extras["test"] if not each.startswith("fastsoftmax[")]
    bounded = [*project["dependencies"], *extras["cli"], *extras["plot"], *needed]
    pinned = [each.split(",")[0].replace(">=", "==") for each in bounded]
    with environment(command) as python:
        run(python, *QUIET, "install", *pinned)
        run(python, *QUIET, "install", "--no-deps", "-e", str(ROOT))
        print("with", " ".join(pinned), flush=True)
        env = os.environ | {"FASTSOFTMAX_KERNELS": "jit"}
        left_out = [word for test in NEWER for word in ("--deselect", test)]
        pytest = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", *left_out, *chosen]
        done = subprocess.run(pytest, cwd=ROOT, env=env, check=False)
        return done.returncode


@contextlib.contextmanager
def environment(command: str) -> Iterator[Path]:
    """Yield the Python of a new environment, which is deleted afterwards."""
    with tempfile.TemporaryDirectory() as name:
        subprocess.run([command, "-m", "venv", name], check=True)
        yield Path(name) / "bin" / "python"


def run(python: Path, *arguments: str, env: dict[str, str] | None = None, cwd: Path | None = None) -> None:
    """Run a Python; CalledProcessError if it fails."""
    subprocess.run([str(python), *arguments], env=env, cwd=cwd, check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
