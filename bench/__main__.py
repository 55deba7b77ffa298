"""`python -m bench run`, `memory`, `scaling`, `optimum`, `sparse`, `certified`, `families` … measure.

`report` shows what they have measured, `compare` two results.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench.commands import (
    backends,
    certified,
    cold,
    compare,
    dask,
    disk,
    families,
    gpu,
    memory,
    optimum,
    report,
    run,
    scaling,
    small,
    sparse,
    sparse_cv,
)  # fmt: skip
from bench.plans import STEPS, NoSuchSetError

INTERRUPTED = 130  # the status that a shell gives for Ctrl-C


class Wide(argparse.HelpFormatter):
    """Help with the longest name of a command on the line of what it says."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=16)


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    top = argparse.ArgumentParser(prog="python -m bench", formatter_class=Wide, description=__doc__)
    commands = top.add_subparsers(dest="word", required=True, metavar="COMMAND", title="commands")
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
    kinds.add_argument("--quick", action="store_true", help="two small problems of each, at C = 1")
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
    called.add_argument("--quick", action="store_true", help="small shapes")
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
    for each in (measure, above, grown, far, alone, little, kinds, far_off, chosen, many, called, whole):
        each.add_argument(
            "--redo", action="store_true", help="begin anew, not where an unfinished result ended"
        )
    return top


def main(words: list[str] | None = None) -> int:
    """Run a command and return its status. What it needs and is not installed is said in one line."""
    words = sys.argv[1:] if words is None else words
    if not words or words in (["-h"], ["--help"]):
        from bench.timetable import timetable

        top = parser()
        top.print_help()
        print(timetable(top), end="")
        return 0
    chosen = parser().parse_args(words)
    try:
        return int(chosen.command(chosen))
    except NoSuchSetError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        saved = ": what is measured is saved; without --redo the same command goes on with it"
        print("interrupted" + (saved if chosen.word in STEPS else ""), file=sys.stderr)
        return INTERRUPTED
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in ("", "bench", "fastsoftmax"):
            raise
        name = chosen.command.__name__
        print(f'python -m bench {name} needs {missing}: pip install -e ".[bench]"', file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
