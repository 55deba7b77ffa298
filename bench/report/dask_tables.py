"""The table of Dask's workers: beside one process, and beside other engines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.contenders import OURS
from bench.report.cells import RANGE, blank, duration, spread

if TYPE_CHECKING:
    from rich.table import Table

    from bench.measure.results import Entry


def dask_table(title: str, members: dict[Any, dict[str, Entry]]) -> Table:
    """Give a line a subject: our time there, and its ratio to that of one process or of another engine."""
    table = blank(title, "subject", "ours", "beside", "time", "ours ÷ it", RANGE, "noted")
    for group in members.values():
        entry = group[OURS]
        noted = entry.noted
        if noted["part"] == "memory":
            held, one = noted["bytes"] / 2**20, noted["parameter_bytes"] / 2**20
            said = f"client: {held:.0f} MiB above its start; a parameter vector is {one:.0f} MiB"
            table.add_row(entry.problem, "", "", "", "", "", said)
            continue
        other = noted["yardstick"]
        words = [
            f"{name.replace('_', ' ')} {noted[name]}" for name in ("bits_equal", "readings") if name in noted
        ]
        if "curve" in noted:
            iterations, _, excess = noted["curve"][-1]
            words = [f"{iterations} iterations, excess {excess:.1e}; ours {noted['excess']:.1e}"]
        beside = duration(noted["in_turn"][other]["seconds"])
        cells = duration(entry.seconds.median), other, beside, *spread(entry.to_yardstick)
        table.add_row(entry.problem, *cells, "; ".join(words))
    table.caption = "two workers of one thread, LocalCluster; one process has two threads and the same blocks"
    return table
