"""The table of minutes below the list of commands: in full, and with `--quick` where there is that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import plans
from bench.measure import durations

if TYPE_CHECKING:
    import argparse

NOT_MEASURING = ("report", "compare")
WIDTHS = (11, 19, 19)


def timetable(parser: argparse.ArgumentParser) -> str:
    """Give a line for each measuring command, from the very plans that the commands follow."""
    machines: dict[str, None] = {}
    lines = [_line("minutes", "in full", "with --quick", "counted from")]
    for word in (*plans.STEPS, "gpu"):
        cells, origin = [], ""
        for quick in ([], ["--quick"]):
            if quick and word == "sparse-cv":  # has no smaller one
                cells.append("")
                continue
            options = parser.parse_args([word, *quick])
            if word == "gpu":
                cells.append(durations.of_gpu(quick=bool(quick)))
                continue
            try:
                found = durations.estimate(word, plans.of(options))
            except ModuleNotFoundError as error:
                cells.append("needs " + (error.name or "more").partition(".")[0])
                continue
            cells.append(found.short())
            origin = origin or found.origin()
            machines |= dict.fromkeys(found.machines)
        lines.append(_line(word, *cells, origin))
    if machines:
        lines.append(f"\nrecorded on {'; '.join(machines)}")
    lines.append("")
    return "\n" + "\n".join(lines)


def _line(*cells: str) -> str:
    """Put cells below those of the line before."""
    padded = [f"{cell:<{width}}" for cell, width in zip(cells, WIDTHS)]
    return ("  " + "".join(padded) + cells[-1]).rstrip()
