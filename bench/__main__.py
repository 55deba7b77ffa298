"""`python -m bench run`, `memory` and `scaling` measure; `python -m bench report` shows what was measured."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from bench import results


def run(options: argparse.Namespace) -> int:
    """Run the grid through pytest, into a result of its own, and show it."""
    import pytest

    path = results.FOLDER / f"{options.name or time.strftime('%Y%m%d-%H%M%S')}.json"
    path.parent.mkdir(exist_ok=True)
    root = Path(__file__).resolve().parents[1]
    arguments = [f"--rootdir={root}", str(root / "bench"), "--benchmark-only", f"--benchmark-json={path}"]
    arguments += [] if options.quick else ["--full"]
    arguments += ["-k", options.k] if options.k else []
    return int(pytest.main([*arguments, "--benchmark-columns=median,iqr,rounds,iterations"]))


def memory(options: argparse.Namespace) -> int:
    """Measure peak memory, each contender in a process of his own."""
    from bench.memory import in_processes

    results.write(results.FOLDER / f"{options.name}.json", list(in_processes(options.quick, options.k)))
    return 0


def scaling(options: argparse.Namespace) -> int:
    """Time passes of growing size, by one thread and by all."""
    from bench.scaling import measure

    results.write(results.FOLDER / f"{options.name}.json", list(measure(options.quick)))
    return 0


def report(options: argparse.Namespace) -> int:
    """Print the tables and draw the plots of a result."""
    from rich.console import Console

    from bench.plots import draw
    from bench.report import machine_line, tables

    path = options.json or results.newest()
    card, entries = results.read(path)
    # Into a file or a pipe tables go whole, not cut to the 80 columns that are assumed there.
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(machine_line(card), style="dim", highlight=False)
    for table in tables(entries, options.all):
        console.print(table)
    for picture in draw(card, entries, options.out or path.parent, path.stem):
        console.print(f"wrote {picture.name}", style="dim", highlight=False)
    return 0


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    top = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="run | memory | scaling | report")
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
    show = commands.add_parser("report", help="show a saved result as tables and plots")
    show.add_argument(
        "--json", type=Path, metavar="FILE", help="the result; by default the newest in bench/results"
    )
    show.add_argument("--out", type=Path, metavar="DIR", help="where plots go; by default beside the result")
    show.add_argument(
        "--all", action="store_true", help="a line a contender, not only ours and the best other"
    )
    show.set_defaults(command=report)
    return top


if __name__ == "__main__":
    chosen = parser().parse_args()
    sys.exit(chosen.command(chosen))
