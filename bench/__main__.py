"""`python -m bench run` measures; `python -m bench report` shows what was measured."""

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


def report(options: argparse.Namespace) -> int:
    """Print the tables and draw the plots of a result."""
    from rich.console import Console

    from bench.plots import draw
    from bench.report import machine_line, tables

    path = options.json or results.newest()
    card, entries = results.read(path)
    # Into a file or a pipe tables go whole, not cut to the 80 columns that are assumed there.
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(machine_line(card), style="dim", highlight=False)
    for table in tables(entries, options.all):
        console.print(table)
    for picture in draw(card, entries, options.out or path.parent, path.stem):
        console.print(f"wrote {picture.name}", style="dim", highlight=False)
    return 0


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    top = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="run | report")
    measure = commands.add_parser("run", help="measure the grid and save the result in bench/results")
    measure.add_argument(
        "--quick", action="store_true", help="the grid that `pytest bench` runs, not the full one"
    )
    measure.add_argument("-k", metavar="EXPR", help="only tests that match, as in pytest")
    measure.add_argument("--name", help="the result's name; by default the date and time")
    measure.set_defaults(command=run)
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
