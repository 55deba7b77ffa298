"""The table of what other libraries call: beside their own, and an objective beside NumPy's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from bench.contenders import OURS
from bench.report.cells import RANGE, VERDICT, blank, digits, duration, heading, spread, tally, verdict
from bench.report.goals import HEAD_MEMORY, goal_of

if TYPE_CHECKING:
    from rich.table import Table

    from bench.measure.results import Entry


def backends_table(title: str, members: dict[Any, dict[str, Entry]]) -> Table:
    """Give a line each other: both times, its time over ours, the goal, and the memory where it was taken."""
    columns = "problem", "dtype", "operation", "ours", "best other", "time", "÷ ours", RANGE, "goal", VERDICT
    table = blank(title, *columns, "we hold", "it holds", "÷ ours", "goal, held", VERDICT)
    verdicts = []
    for key, group in members.items():
        ours, goal = group[OURS], goal_of(group[OURS])
        for name, entry in group.items():
            if entry.to_ours is None:
                continue
            aimed = goal is not None and goal.of == name
            times = duration(ours.seconds.median), name, duration(entry.seconds.median)
            cells = [*heading(key), *times, *spread(entry.to_ours), Text("–", style="dim"), Text("")]
            memory = [Text("")] * 5
            if goal is not None and aimed:
                cells[-2:] = (
                    Text(f"≥ {digits(1.0 / goal.limit)}"),
                    verdict(entry.to_ours.median >= 1.0 / goal.limit),
                )
                verdicts.append(cells[-1].plain)
            if "held_bytes" in entry.noted:
                memory = memory_cells(ours, entry, aimed)
                verdicts.append(memory[-1].plain)
            table.add_row(*cells, *memory)
    threads = sorted({group[OURS].noted["threads"] for group in members.values()})
    table.caption = "; ".join(
        filter(
            None, [tally(verdicts), f"with the gradient, in turn; threads: {', '.join(map(str, threads))}"]
        )
    )
    return table


def memory_cells(ours: Entry, other: Entry, aimed: bool) -> list[Text]:
    """Write what both held beside their data, and the goal where it is that other's."""
    own, its = (entry.noted["held_bytes"] for entry in (ours, other))
    cells = [Text(f"{digits(held / 2**20)} MiB") for held in (own, its)] + [Text(digits(its / own))]
    if not aimed:
        return [*cells, Text("–", style="dim"), Text("")]
    return [*cells, Text(f"≥ {digits(1.0 / HEAD_MEMORY)}"), verdict(own <= HEAD_MEMORY * its)]
