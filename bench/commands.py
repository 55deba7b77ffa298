"""What each command does: measure its steps, show what came out, and say what is wrong with it."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import plans
from bench.measure import results

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from rich.console import Console

    Benchmarks = list[dict[str, Any]]


def run(options: argparse.Namespace) -> int:
    """Run the grid through pytest, into a result of its own that grows with it, and show it."""
    import ml_dtypes  # noqa: F401 - these two are used by what pytest imports
    import pytest
    import pytest_benchmark  # noqa: F401

    path = path_of(options.name or time.strftime("%Y%m%d-%H%M%S"))
    path.parent.mkdir(exist_ok=True)
    root = Path(__file__).resolve().parents[1]
    arguments = [f"--rootdir={root}", str(root / "bench"), "--benchmark-only", f"--save-to={path}"]
    arguments += [] if options.quick else ["--full"]
    arguments += ["--begin-anew"] if options.redo else []
    arguments += ["-k", options.k] if options.k else []
    return int(pytest.main([*arguments, "--benchmark-columns=median,iqr,rounds,iterations"]))


def memory(options: argparse.Namespace) -> int:
    """Measure peak memory, each contender in a process of his own."""
    saved(options)
    return 0


def scaling(options: argparse.Namespace) -> int:
    """Time passes of growing size, by one thread and by all."""
    saved(options)
    return 0


def optimum(options: argparse.Namespace) -> int:
    """Follow fits to the optimum. 1 if there is a complaint."""
    from bench.measure import optimum as grid

    return said(grid.complaints(saved(options)))


def sparse(options: argparse.Namespace) -> int:
    """Follow elastic nets to the optimum; each fit is saved when it is done, and not made again."""
    from bench.measure import sparse as grid
    from bench.measure.steps import announce

    path = path_of(options.name)
    announce("sparse", path, plans.of(options), 0)
    done = results.benchmarks(path)
    for now in grid.measure(plans.sparse_plan(options), done, options.redo):
        results.write(path, now)
        done = now
    return said(grid.complaints(done))


def certified(options: argparse.Namespace) -> int:
    """Watch our fits over a wide range of penalties, and show the table. 1 if there is a complaint."""
    from bench.measure import certified as grid

    return shown(options, grid.complaints)


def small(options: argparse.Namespace) -> int:
    """Time small problems in turn with scikit-learn, and show the table. 1 if there is a complaint."""
    from bench.measure import small as grid

    return shown(options, grid.complaints)


def families(options: argparse.Namespace) -> int:
    """Follow fits of families of problems, and show the worst of each. 1 if there is a complaint."""
    from bench.measure import families as grid

    return shown(options, grid.optimum.complaints)


def disk(options: argparse.Namespace) -> int:
    """Measure rows on disk, and show the tables."""
    return shown(options)


def sparse_cv(options: argparse.Namespace) -> int:
    """Time cross-validations of sparse models, and show the table."""
    return shown(options)


def dask(options: argparse.Namespace) -> int:
    """Measure two workers beside one process, and others' engines, and show the tables.

    What is not measured anew stays in the result.
    """
    return shown(options, before=results.benchmarks(path_of(options.name)))


def backends(options: argparse.Namespace) -> int:
    """Time what other libraries call beside their own, and show the table. 1 if there is a complaint.

    What is not measured anew stays in the result.
    """
    from bench.measure import backends as grid

    absent = grid.missing()
    if absent:
        print(
            f"left out, not installed: {', '.join(absent)} (`python -m tests.backends` makes an environment "
            "that has them)",
            file=sys.stderr,
        )
    if len(absent) == len(grid.LIBRARIES) or not plans.of(options):
        print("nothing was measured", file=sys.stderr)
        return 1
    return shown(options, grid.complaints, results.benchmarks(path_of(options.name)))


def cold(options: argparse.Namespace) -> int:
    """Time whole processes; each subject is saved when it is done."""
    saved(options)
    return 0


def path_of(name: str) -> Path:
    """Give the file of a result; a name may be a path elsewhere."""
    return results.FOLDER / f"{name}.json"


def shown(
    options: argparse.Namespace,
    complaints: Callable[[Benchmarks], list[str]] = lambda _: [],
    before: Benchmarks | None = None,
) -> int:
    """Save what is measured as it comes, print its tables and what is wrong with it, and give the status."""
    from bench.report.tables import tables  # here: without Rich nothing is measured

    done = saved(options, before)
    entries = [results.entry_of(benchmark) for benchmark in done]
    console = console_of()
    for table in tables(entries, every=False):
        console.print(table)
    return said(complaints(done))


def saved(options: argparse.Namespace, before: Benchmarks | None = None) -> Benchmarks:
    """Measure the steps of a command into its result, or what an unfinished one lacks."""
    steps = plans.of(options)
    from bench.measure.steps import measured

    chosen = {
        key: value for key, value in vars(options).items() if key not in ("command", "word", "name", "redo")
    }
    path = path_of(options.name)
    return measured(
        options.word, steps, path, chosen | {"command": options.word}, redo=options.redo, before=before
    )


def said(complaints: list[str]) -> int:
    """Print what is wrong with a result, and give the status: 1 if anything is."""
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    return 1 if complaints else 0


def gpu(options: argparse.Namespace) -> int:
    """Measure what a GPU does. 1 if there is none."""
    from fastsoftmax import DeviceUnavailable, devices

    try:
        devices.get("cuda")
    except DeviceUnavailable as error:
        print(error, file=sys.stderr)
        return 1
    from bench.measure import durations
    from bench.measure import gpu as measured

    print(f"gpu: {durations.of_gpu(quick=options.quick)}", flush=True)
    path = results.FOLDER / "gpu" / f"{options.name}.json"
    found = measured.run(path, options.quick)
    from bench.report.gpu_plots import draw  # here: without matplotlib there are the numbers at least

    draw(found, path)
    return 0


def report(options: argparse.Namespace) -> int:
    """Print the tables and draw the plots of a result."""
    console = console_of()
    from bench.report.cells import machine_line
    from bench.report.plots import draw
    from bench.report.tables import tables

    path = options.json or results.newest()
    card, entries = results.read(path)
    console.print(machine_line(card), style="dim", highlight=False)
    for table in tables(entries, options.all):
        console.print(table)
    for picture in draw(card, entries, options.out or path.parent, path.stem):
        console.print(f"wrote {picture.name}", style="dim", highlight=False)
    return 0


def compare(options: argparse.Namespace) -> int:
    """Print what two results have both measured, the most slowed down first. 1 if they share nothing."""
    console = console_of()
    from bench.report.two_results import comparison_table, pairs

    (old_card, old), (new_card, new) = results.read(options.old), results.read(options.new)
    both = pairs(old, new, options.all)
    if not both:
        print("the two results have measured nothing that is the same", file=sys.stderr)
        return 1
    console.print(comparison_table(both, (old_card, new_card)))
    return 0


def console_of() -> Console:
    """Give where tables go: into a file or a pipe whole, not cut to the 80 columns that are assumed there."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 200)
