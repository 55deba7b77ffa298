"""`python -m bench run`, `memory`, `scaling`, `optimum`, `sparse`, `certified`, `families` … measure.

`report` shows what they have measured.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.measure import results

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

    Benchmarks = list[dict[str, Any]]


def run(options: argparse.Namespace) -> int:
    """Run the grid through pytest, into a result of its own that grows with it, and show it."""
    import ml_dtypes  # noqa: F401 - these two are used by what pytest imports
    import pytest
    import pytest_benchmark  # noqa: F401

    path = results.FOLDER / f"{options.name or time.strftime('%Y%m%d-%H%M%S')}.json"
    path.parent.mkdir(exist_ok=True)
    root = Path(__file__).resolve().parents[1]
    arguments = [f"--rootdir={root}", str(root / "bench"), "--benchmark-only", f"--save-to={path}"]
    arguments += [] if options.quick else ["--full"]
    arguments += ["-k", options.k] if options.k else []
    return int(pytest.main([*arguments, "--benchmark-columns=median,iqr,rounds,iterations"]))


def memory(options: argparse.Namespace) -> int:
    """Measure peak memory, each contender in a process of his own."""
    from bench.measure.memory import in_processes

    results.write(results.FOLDER / f"{options.name}.json", list(in_processes(options.quick, options.k)))
    return 0


def scaling(options: argparse.Namespace) -> int:
    """Time passes of growing size, by one thread and by all."""
    from bench.measure.scaling import measure

    results.write(results.FOLDER / f"{options.name}.json", list(measure(options.quick)))
    return 0


def optimum(options: argparse.Namespace) -> int:
    """Follow fits to the optimum; each set is saved when it is done. 1 if there is a complaint."""
    from bench.measure import optimum as grid

    chosen = options.sets or (grid.QUICK if options.quick else grid.sets(options.dtype))
    unknown = set(chosen) - set(grid.sets(options.dtype))
    if unknown:
        print(f"no such set: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    limit = options.time_limit or (grid.QUICK_SECONDS if options.quick else grid.SECONDS)
    plan = grid.Plan(chosen, options.C or grid.STRENGTHS, options.solvers, options.dtype, limit)
    return said(grid.complaints(saved(grid.measure(plan), options.name)))


def sparse(options: argparse.Namespace) -> int:
    """Follow elastic nets to the optimum; each fit is saved when it is done, and not made again."""
    from bench.measure import sparse as grid

    chosen = options.sets or (grid.QUICK if options.quick else list(grid.sets()))
    unknown = set(chosen) - set(grid.sets())
    if unknown:
        print(f"no such set: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    limit = options.time_limit or (grid.QUICK_SECONDS if options.quick else grid.SECONDS)
    plan = grid.Plan(
        chosen, options.around or grid.AROUND, options.kinds or list(grid.KINDS), options.solvers, limit
    )
    path = results.FOLDER / f"{options.name}.json"
    done = results.benchmarks(path)
    for now in grid.measure(plan, done, options.redo):
        results.write(path, now)
        done = now
    return said(grid.complaints(done))


def certified(options: argparse.Namespace) -> int:
    """Watch our fits over a wide range of penalties, and show the table. 1 if there is a complaint."""
    from bench.measure import certified as grid

    known = grid.sets("float64")
    chosen = options.sets or (grid.QUICK if options.quick else list(known))
    unknown = set(chosen) - set(known)
    if unknown:
        print(f"no such set: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    strengths = options.C or (grid.QUICK_STRENGTHS if options.quick else grid.STRENGTHS)
    limit = options.time_limit or (grid.optimum.QUICK_SECONDS if options.quick else grid.optimum.SECONDS)
    plan = grid.Plan(chosen, strengths, options.dtype or grid.DTYPES, options.solvers, limit)
    return shown(grid.measure(plan), grid.complaints, options.name)


def small(options: argparse.Namespace) -> int:
    """Time small problems in turn with scikit-learn, and show the table. 1 if there is a complaint."""
    from bench.measure import small as grid

    return shown(grid.measure(options.quick, options.k, options.threads), grid.complaints, options.name)


def families(options: argparse.Namespace) -> int:
    """Follow fits of families of problems, and show the worst of each. 1 if there is a complaint."""
    from bench.measure import families as grid

    strengths = options.C or (grid.QUICK_STRENGTHS if options.quick else grid.STRENGTHS)
    limit = options.time_limit or (grid.QUICK_SECONDS if options.quick else grid.SECONDS)
    plan = grid.Plan(options.quick, options.k, strengths, limit)
    return shown(grid.measure(plan), grid.optimum.complaints, options.name)


def disk(options: argparse.Namespace) -> int:
    """Measure rows on disk, and show the tables."""
    from bench.measure import disk as grid

    sizes, memory = (grid.QUICK, grid.QUICK_MEMORY) if options.quick else (grid.FULL, grid.FULL_MEMORY)
    plan = grid.Plan(
        sizes, options.folder or grid.FOLDER, memory, options.k, 3 if options.quick else grid.ROUNDS
    )
    return shown(grid.measure(plan), lambda _: [], options.name)


def sparse_cv(options: argparse.Namespace) -> int:
    """Time cross-validations of sparse models, and show the table."""
    from bench.measure import sparse_cv as grid

    return shown(grid.measure(options.k), lambda _: [], options.name)


def dask(options: argparse.Namespace) -> int:
    """Measure two workers beside one process, and others' engines, and show the tables.

    What is not measured anew stays in the result.
    """
    from bench.measure import dask_cluster as grid

    sizes = grid.QUICK if options.quick else grid.FULL
    before = results.benchmarks(results.FOLDER / f"{options.name}.json")
    return shown(grid.measure(sizes, options.k), lambda _: [], options.name, before)


def backends(options: argparse.Namespace) -> int:
    """Time what other libraries call beside their own, and show the table. 1 if there is a complaint."""
    from bench.measure import backends as grid

    before = results.benchmarks(results.FOLDER / f"{options.name}.json")
    sizes = grid.QUICK if options.quick else grid.FULL
    return shown(grid.measure(sizes, options.k), grid.complaints, options.name, before)


def shown(
    groups: Iterator[Benchmarks],
    complaints: Callable[[Benchmarks], list[str]],
    name: str,
    before: Benchmarks | None = None,
) -> int:
    """Save what is measured as it comes, print its tables and what is wrong with it, and give the status."""
    from bench.report.tables import tables  # here: without Rich nothing is measured

    done = saved(groups, name, before)
    entries = [results.entry_of(benchmark) for benchmark in done]
    console = console_of()
    for table in tables(entries, every=False):
        console.print(table)
    return said(complaints(done))


def saved(groups: Iterator[Benchmarks], name: str, before: Benchmarks | None = None) -> Benchmarks:
    """Collect what is measured, group by group, into a result that grows with it.

    Of the benchmarks of `before` those stay in the result whose names are not measured anew.
    """
    done: Benchmarks = []
    for group in groups:
        done += group
        anew = {each["name"] for each in done}
        stay = [each for each in before or [] if each["name"] not in anew]
        results.write(results.FOLDER / f"{name}.json", stay + done)
    return done


def said(complaints: list[str]) -> int:
    """Print what is wrong with a result, and give the status: 1 if anything is."""
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    return 1 if complaints else 0


def cold(options: argparse.Namespace) -> int:
    """Time whole processes; each subject is saved when it is done."""
    from bench.measure.cold import FULL, QUICK, measure_all

    saved(measure_all(QUICK if options.quick else FULL, options.k), options.name)
    return 0


def gpu(options: argparse.Namespace) -> int:
    """Measure what a GPU does. 1 if there is none."""
    from fastsoftmax import DeviceUnavailable, devices

    try:
        devices.get("cuda")
    except DeviceUnavailable as error:
        print(error, file=sys.stderr)
        return 1
    from bench.measure import gpu as measured

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


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    top = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    names = (
        "run | memory | scaling | optimum | sparse | certified | small | families | disk | sparse-cv | "
        "dask | backends | cold | gpu | report | compare"
    )
    commands = top.add_subparsers(required=True, metavar=names)
    measure = commands.add_parser("run", help="measure the grid and save the result in bench/results")
    measure.add_argument(
        "--quick", action="store_true", help="the grid that `pytest bench` runs, not the full one"
    )
    measure.add_argument("-k", metavar="EXPR", help="only tests that match, as in pytest")
    measure.add_argument("--name", help="the result's name; by default the date and time")
    measure.set_defaults(command=run)
    above = commands.add_parser("memory", help="measure what calls hold beside their data")
    above.add_argument("--quick", action="store_true", help="data a few times smaller")
    above.add_argument("-k", metavar="TEXT", help="only cases whose names contain this")
    above.add_argument("--name", default="memory", help="the result's name")
    above.set_defaults(command=memory)
    grown = commands.add_parser("scaling", help="measure how the time of a pass grows")
    grown.add_argument("--quick", action="store_true", help="only up to a sixteenth of the size")
    grown.add_argument("--name", default="scaling", help="the result's name")
    grown.set_defaults(command=scaling)
    far = commands.add_parser("optimum", help="follow fits of real sets to the optimum, ours and others'")
    far.add_argument("--quick", action="store_true", help="three small sets, and a few seconds a fit")
    far.add_argument("--sets", nargs="+", metavar="SET", help="only these sets")
    far.add_argument("--C", nargs="+", type=float, metavar="C", help="inverse strengths of the penalty")
    far.add_argument(
        "--solvers", nargs="+", default=(), metavar="TEXT", help="only contenders whose names contain a TEXT"
    )
    far.add_argument("--dtype", choices=("float32", "float64"), default="float64", help="that of X, for all")
    far.add_argument("--time-limit", type=float, metavar="SECONDS", help="the most that one fit may take")
    far.add_argument("--name", default="optimum", help="the result's name")
    far.set_defaults(command=optimum)
    kinked = commands.add_parser("sparse", help="follow elastic nets to the optimum, ours and others'")
    kinked.add_argument("--quick", action="store_true", help="one small set, and two seconds a fit")
    kinked.add_argument("--sets", nargs="+", metavar="SET", help="only these sets")
    kinked.add_argument("--around", nargs="+", type=float, metavar="PART", help="multiples of the chosen C")
    kinked.add_argument("--kinds", nargs="+", metavar="KIND", help="only these penalties, as 'α = 1'")
    kinked.add_argument(
        "--solvers", nargs="+", default=(), metavar="TEXT", help="only contenders whose names contain a TEXT"
    )
    kinked.add_argument(
        "--redo",
        nargs="+",
        default=(),
        metavar="TEXT",
        help="contenders to run again though the result has them",
    )
    kinked.add_argument("--time-limit", type=float, metavar="SECONDS", help="the most that one fit may take")
    kinked.add_argument("--name", default="sparse", help="the result's name")
    kinked.set_defaults(command=sparse)
    alone = commands.add_parser("certified", help="see how long after arriving our fits are certified")
    alone.add_argument(
        "--quick", action="store_true", help="small sets, three penalties, a few seconds a fit"
    )
    alone.add_argument("--sets", nargs="+", metavar="SET", help="only these sets")
    alone.add_argument("--C", nargs="+", type=float, metavar="C", help="inverse strengths of the penalty")
    alone.add_argument(
        "--solvers", nargs="+", default=(), metavar="TEXT", help="only solvers whose names contain a TEXT"
    )
    alone.add_argument(
        "--dtype", nargs="+", choices=("float32", "float64"), help="those of X; both by default"
    )
    alone.add_argument("--time-limit", type=float, metavar="SECONDS", help="the most that one fit may take")
    alone.add_argument("--name", default="certified", help="the result's name")
    alone.set_defaults(command=certified)
    little = commands.add_parser("small", help="time small fits and predictions, ours and scikit-learn's")
    little.add_argument("--quick", action="store_true", help="the named problems, and a few sizes")
    little.add_argument("--threads", type=int, metavar="N", help="how many both may use; all by default")
    little.add_argument("-k", default="", metavar="WORDS", help="only cases whose names contain all of these")
    little.add_argument("--name", default="small", help="the result's name")
    little.set_defaults(command=small)
    kinds = commands.add_parser("families", help="the worst of each family of problems, beside scikit-learn")
    kinds.add_argument("--quick", action="store_true", help="two small problems of each, at C = 1; 3 minutes")
    kinds.add_argument("-k", default="", metavar="TEXT", help="only families whose names contain this")
    kinds.add_argument("--C", nargs="+", type=float, metavar="C", help="inverse strengths of the penalty")
    kinds.add_argument("--time-limit", type=float, metavar="SECONDS", help="the most that one fit may take")
    kinds.add_argument("--name", default="families", help="the result's name")
    kinds.set_defaults(command=families)
    far_off = commands.add_parser(
        "disk", help="rows on disk: readings, fits, memory, and others' fits; Linux"
    )
    far_off.add_argument("--quick", action="store_true", help="small files")
    far_off.add_argument(
        "-k", default="", metavar="WORDS", help="only subjects whose names contain all of these"
    )
    far_off.add_argument(
        "--folder", type=Path, metavar="DIR", help="where the files are kept (40 GB in full)"
    )
    far_off.add_argument("--name", default="disk", help="the result's name")
    far_off.set_defaults(command=disk)
    chosen = commands.add_parser("sparse-cv", help="time cross-validations of sparse models, ours and saga's")
    chosen.add_argument(
        "-k", default="", metavar="WORDS", help="only subjects whose names contain all of these"
    )
    chosen.add_argument("--name", default="sparse_cv", help="the result's name")
    chosen.set_defaults(command=sparse_cv)
    many = commands.add_parser("dask", help="readings and fits on two workers, and by other engines")
    many.add_argument("--quick", action="store_true", help="few rows")
    many.add_argument(
        "-k", default="", metavar="WORDS", help="only subjects whose names contain all of these"
    )
    many.add_argument("--name", default="dask", help="the result's name")
    many.set_defaults(command=dask)
    called = commands.add_parser("backends", help="time what PyTorch and boosting call, beside their own")
    called.add_argument("--quick", action="store_true", help="small shapes; half a minute")
    called.add_argument(
        "-k", default="", metavar="WORDS", help="only subjects whose names contain all of these"
    )
    called.add_argument("--name", default="backends", help="the result's name")
    called.set_defaults(command=backends)
    whole = commands.add_parser("cold", help="time whole processes: imports, first calls, later ones")
    whole.add_argument("--quick", action="store_true", help="one cold run of each, and fewer rounds")
    whole.add_argument("-k", metavar="TEXT", help="only subjects whose names contain this")
    whole.add_argument("--name", default="cold", help="the result's name")
    whole.set_defaults(command=cold)
    fast = commands.add_parser("gpu", help="measure an NVIDIA GPU: ceilings, row kernels, passes, a fit")
    fast.add_argument("--quick", action="store_true", help="problems a few times smaller")
    fast.add_argument("--name", default="latest", help="the result's name, in bench/results/gpu")
    fast.set_defaults(command=gpu)
    show = commands.add_parser("report", help="show a saved result as tables and plots")
    show.add_argument(
        "--json", type=Path, metavar="FILE", help="the result; by default the newest in bench/results"
    )
    show.add_argument("--out", type=Path, metavar="DIR", help="where plots go; by default beside the result")
    show.add_argument(
        "--all", action="store_true", help="a line a contender, not only ours and the best other"
    )
    show.set_defaults(command=report)
    two = commands.add_parser("compare", help="show what two saved results have both measured")
    two.add_argument("old", type=Path, metavar="OLD", help="a result")
    two.add_argument("new", type=Path, metavar="NEW", help="a later one")
    two.add_argument("--all", action="store_true", help="all contenders, not only ours")
    two.set_defaults(command=compare)
    return top


def main(words: list[str] | None = None) -> int:
    """Run a command and return its status. What it needs and is not installed is said in one line."""
    chosen = parser().parse_args(words)
    try:
        return int(chosen.command(chosen))
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in ("", "bench", "fastsoftmax"):
            raise
        name = chosen.command.__name__
        print(f'python -m bench {name} needs {missing}: pip install -e ".[bench]"', file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
