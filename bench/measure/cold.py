"""What a user waits for in a whole process: imports, compiling or loading of kernels, and the call itself.

Each run is a process of its own, `python -c` with a script of `contenders.scripts`. Of ours there are three
states: "cold", with an empty kernel cache and an empty HOME; "new process", with the cache that a cold run
has left; and "warm", the second call within a process. The others compile nothing, and have the last two.

The parent measures seconds from the start of a process to its end, and the seconds of processor time that the
system counted for it. A warm call alone is timed by its script, which is a user's but for that. Everybody
is run once before anything is timed: what comes out is judged, and sources are compiled to bytecode, which is
no part of the question. So files are in the system's memory in all states, "cold" included.

Kernels lie in a folder that NUMBA_CACHE_DIR names, a new one for each cold run; otherwise they would be kept
beside the sources. With FASTSOFTMAX_KERNELS=compiled they come from the library of the installed package, as
in a wheel, and nothing is compiled. Needs `os.wait4`: Linux and macOS.
"""

from __future__ import annotations

import functools
import os
import site
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bench.contenders import OURS, naive, scripts
from bench.contenders.threads import THREADS
from bench.measure import agreement
from bench.measure.steps import Step
from bench.measure.timing import summary
from bench.problems.descriptions import load
from bench.problems.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.contenders.scripts import Script

ROOT = Path(__file__).resolve().parents[2]
COLD, NEW, WARM = "cold", "new process", "warm"
REST_SECONDS = 0.3  # between two processes: the files of the one before are written meanwhile
# What a user may have set for all contenders alike. It reaches the processes, and stands in the result.
THREAD_SETTINGS = (
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NUMBA_THREADING_LAYER",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
)
# Which kernels are run: by default those of the sources, whatever library lies beside them.
KERNEL_SETTINGS = {"FASTSOFTMAX_KERNELS": "jit", "FASTSOFTMAX_LIBRARY": "", "FASTSOFTMAX_LEVEL": ""}
WHOSE = "import fastsoftmax\nprint(*fastsoftmax.kernels_info()[:3])"
# What would change the question: places of caches, kinds of code, and whether there is bytecode.
NOT_PASSED_ON = ("NUMBA_", "FASTSOFTMAX_", "PYTHONDONTWRITEBYTECODE")
AGAIN = """
import time
start = time.perf_counter()
{call}
print(time.perf_counter() - start)
"""


def nothing(*_: Any) -> dict[str, Any]:
    """Write no files, and have nothing to say of a result."""
    return {}


class Subject(NamedTuple):
    """What is run, and by whom.

    `write` puts files into the folder that scripts run in. `results` are the names of what a script has
    found, and `judge` says what is noted of the arrays; it raises where they are wrong.
    """

    problem: str
    dtype: str
    operation: str
    scripts: dict[str, Script]
    results: tuple[str, ...] = ()
    judge: Callable[..., dict[str, Any]] = nothing
    write: Callable[[Path], Any] = nothing

    @property
    def name(self) -> str:
        """What `-k` looks into."""
        return " ".join(filter(None, (self.operation, self.problem, self.dtype)))


class Plan(NamedTuple):
    """How often everybody is run, and how many of these rounds begin with an empty cache."""

    rounds: int
    cold_rounds: int


FULL, QUICK = Plan(7, 3), Plan(3, 1)


class Run(NamedTuple):
    """A process that has ended: seconds, seconds of processor time, and what it printed."""

    seconds: float
    cpu_seconds: float
    printed: str


LOGITS = Rows("1000x10", "float64", 1_000, 10)


def write_logits(folder: Path) -> None:
    np.save(folder / scripts.LOGITS, load(LOGITS).logits)


def judge_softmax(p: np.ndarray) -> dict[str, Any]:
    agreement.check(LOGITS, "softmax", (p,))
    return {}


def judge_fit(coef: np.ndarray, intercept: np.ndarray) -> dict[str, Any]:
    """Note how far a fit came; one that is no better than no fit is an error."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    reached, nothing_learnt = naive.objective(coef, intercept, X, y, 1.0), np.log(len(coef))
    if not reached < nothing_learnt:
        raise AssertionError(f"the objective is {reached:.6g}; at zero it is {nothing_learnt:.6g}")
    return {"objective": reached}


def write_models(folder: Path) -> None:
    """Fit and save a model of each contender."""
    import joblib
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    # Here and not above: nothing else in this process needs kernels, and it sets the environment.
    import bench.measure.numba_cache  # noqa: F401
    import fastsoftmax

    X, y = load_digits(return_X_y=True)
    np.save(folder / scripts.ROWS, X)
    fastsoftmax.SoftmaxRegression().fit(X, y).save(folder / scripts.MODELS[OURS])
    joblib.dump(LogisticRegression(max_iter=1000).fit(X, y), folder / scripts.MODELS["sklearn"])


def judge_probabilities(p: np.ndarray) -> dict[str, Any]:
    """Compare with the labels; a model that was not loaded well would not know them."""
    from sklearn.datasets import load_digits

    right = float(np.mean(np.argmax(p, axis=1) == load_digits().target))
    if not (right > 0.95 and np.allclose(p.sum(axis=1), 1)):
        raise AssertionError(f"no probabilities of digits: {right:.3f} of the labels")
    return {"accuracy": right}


FITTED = ("model.coef_", "model.intercept_")
SUBJECTS = (
    Subject("softmax", "", "import", scripts.IMPORT_SOFTMAX),
    Subject("SoftmaxRegression", "", "import", scripts.IMPORT_ESTIMATOR),
    Subject("1000x10", "float64", "softmax", scripts.SOFTMAX, ("p",), judge_softmax, write_logits),
    Subject("digits", "float64", "fit", scripts.FIT, FITTED, judge_fit),
    Subject("digits, CSR", "float64", "fit", scripts.SPARSE_FIT, FITTED, judge_fit),
    Subject("digits", "float64", "predict", scripts.PREDICT, ("p",), judge_probabilities, write_models),
)


def environment(home: Path) -> dict[str, str]:
    """Give the environment of a process whose HOME and kernels lie in a folder."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in THREAD_SETTINGS or not name.startswith(NOT_PASSED_ON)
    }
    chosen = {name: os.environ.get(name) or value for name, value in KERNEL_SETTINGS.items()}
    return (
        kept
        | chosen
        | {
            "HOME": str(home),
            "XDG_CACHE_HOME": str(home / ".cache"),
            "NUMBA_CACHE_DIR": str(home / "kernels"),
            "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
            "PYTHONUSERBASE": site.getuserbase(),  # libraries that are installed in the real HOME
        }
    )


def run(code: str, folder: Path, home: Path) -> Run:
    """Run a script in a folder, and wait for its end."""
    home.mkdir(exist_ok=True)
    command, env = [sys.executable, "-c", code], environment(home)
    with tempfile.TemporaryFile() as printed:
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=printed)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)  # nobody else can ask for it any more
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
        printed.seek(0)
        return Run(seconds, used.ru_utime + used.ru_stime, printed.read().decode())


def judged(subject: Subject, script: Script, folder: Path, home: Path) -> dict[str, Any]:
    """Run a script untimed, and give what is noted of its result."""
    code = f"{script.before}\n{script.call}"
    path = folder / "result.npz"
    run(f"{code}\nimport numpy\nnumpy.savez({path.name!r}, {', '.join(subject.results)})", folder, home)
    with np.load(path) as kept:
        return subject.judge(*kept.values())


def one_round(subject: Subject, folder: Path, home: Path, cold: bool) -> dict[tuple[str, str], Run]:
    """Run everybody once in every state that he has, the cold one if it is wanted."""
    runs = {}
    for contender, script in subject.scripts.items():
        code = f"{script.before}\n{script.call}"
        states = {COLD: code} if cold and contender == OURS else {}
        states[NEW] = code
        if script.call:
            states[WARM] = code + AGAIN.format(call=script.call)
        for state, text in states.items():
            time.sleep(REST_SECONDS)
            runs[contender, state] = run(text, folder, home)
    return runs


def measure(subject: Subject, plan: Plan) -> list[dict[str, Any]]:
    """Run a subject, and give each contender as one benchmark of a result."""
    with tempfile.TemporaryDirectory(prefix="bench-cold-") as name:
        place = Path(name)
        folder, home = place / "data", place / "untimed"
        folder.mkdir()
        subject.write(folder)
        noted = {
            contender: judged(subject, script, folder, home) for contender, script in subject.scripts.items()
        }
        rounds = []
        for i in range(plan.rounds):
            cold = i < plan.cold_rounds
            home = place / f"cold {i}" if cold else home
            rounds.append(one_round(subject, folder, home, cold))
        noted[OURS]["kernels_from"] = run(WHOSE, folder, home).printed.strip()
        noted[OURS]["kernels"] = len(list((home / "kernels").rglob("*.kernel")))
    return [benchmark_of(subject, contender, rounds, noted[contender]) for contender in subject.scripts]


def benchmark_of(
    subject: Subject, contender: str, rounds: list[dict[tuple[str, str], Run]], noted: dict[str, Any]
) -> dict[str, Any]:
    """Put a contender's rounds together. What counts as its time is that of a new process."""
    states: dict[str, dict[str, Any]] = {}
    for state in (COLD, NEW, WARM):
        runs = [lap[contender, state] for lap in rounds if (contender, state) in lap]
        if not runs:
            continue
        seconds = seconds_of(state, runs)
        states[state] = {"seconds": spread(seconds), "rounds": len(runs)}
        if state != WARM:
            states[state]["cpu_seconds"] = spread(np.array([each.cpu_seconds for each in runs]))
        if contender != OURS:
            ours = seconds_of(state, [lap[OURS, state] for lap in rounds])
            states[state]["in_turn"] = {OURS: summary(seconds, ours)}
    extra = {
        "family": "cold",
        "problem": subject.problem,
        "dtype": subject.dtype,
        "operation": subject.operation,
        "contender": contender,
        "threads": THREADS,
        "thread_settings": {name: os.environ[name] for name in THREAD_SETTINGS if name in os.environ},
        **noted,
        "states": states,
        "in_turn": states[NEW].get("in_turn", {}),
    }
    median, least, most = states[NEW]["seconds"]
    return {
        "name": f"{subject.name} {contender}",
        "extra_info": extra,
        "stats": {"median": median, "min": least, "max": most},
    }


def seconds_of(state: str, runs: list[Run]) -> np.ndarray:
    """Give the seconds of processes, or of the warm calls in them."""
    return np.array([float(each.printed) if state == WARM else each.seconds for each in runs])


def spread(values: np.ndarray) -> list[float]:
    """Give [median, min, max]."""
    return [float(np.median(values)), float(values.min()), float(values.max())]


def steps(plan: Plan, wanted: str | None) -> list[Step]:
    """Give a step for each subject whose name contains `wanted`."""
    chosen = [subject for subject in SUBJECTS if wanted is None or wanted in subject.name]
    return [Step(subject.name, functools.partial(said, subject, plan)) for subject in chosen]


def said(subject: Subject, plan: Plan) -> list[dict[str, Any]]:
    """Measure a subject, after a line that names it."""
    print(subject.name, flush=True)
    return measure(subject, plan)
