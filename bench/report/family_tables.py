"""The table of families: the worst ratio of each at each level, and where it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from rich.text import Text

from bench.measure.families import LEVELS, OURS_ALONE
from bench.report.cells import blank, digits

if TYPE_CHECKING:
    from rich.table import Table

    from bench.measure.results import Entry

BEHIND = 0.95  # a ratio below it is more than the spread of a repeated fit
JUDGED = 5  # the place of 1e-6 among the levels


def families_table(title: str, members: dict[Any, dict[str, Entry]]) -> Table:
    """Give a line a family: the best other's time over ours, at its least, and the case worst at 1e-6."""
    levels = [f"{level:.0e}" for level in LEVELS]
    table = blank(
        f"{title}: scikit-learn's best ÷ ours, the worst case", "family", "cases", *levels, "problem"
    )
    every = [group[OURS_ALONE] for group in members.values() if OURS_ALONE in group]
    for part in dict.fromkeys(entry.noted["part"] for entry in every):
        table.add_row(part, *cells([entry for entry in every if entry.noted["part"] == part]))
    table.add_row("all", *cells(every))
    return table


def cells(entries: list[Entry]) -> list[Text | str]:
    """Write how many cases there are, the least ratio at each level, and the case that is worst at 1e-6."""
    ratios = np.array([entry.noted["ratios"] for entry in entries])
    worst = entries[int(ratios[:, JUDGED].argmin())]
    least = ratios.min(axis=0)
    written = [Text(digits(ratio), style="red" if ratio < BEHIND else "green") for ratio in least]
    return [str(len(entries)), *written, f"{worst.problem}, {worst.operation}"]
