"""Two results side by side: what both have measured, and how the times compare."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from rich.text import Text

from bench.contenders import OURS
from bench.report.cells import blank, digits, duration, heading, named

if TYPE_CHECKING:
    from rich.table import Table

    from bench.measure.results import Entry

# A ratio of medians beyond which a line is marked: times of one machine vary by a tenth from day to day.
NOTED = 1.1


def pairs(old: list[Entry], new: list[Entry], every: bool) -> list[tuple[Entry, Entry]]:
    """Give what both results have: ours, or with `every` all contenders; the most slowed down first."""
    before = {(entry.group, entry.contender): entry for entry in old}
    both = [
        (before[entry.group, entry.contender], entry)
        for entry in new
        if (entry.group, entry.contender) in before and (every or entry.contender.split()[0] == OURS)
    ]
    return sorted(both, key=lambda pair: -ratio(pair))


def ratio(pair: tuple[Entry, Entry]) -> float:
    """Give the new time over the old."""
    old, new = pair
    return new.seconds.median / old.seconds.median


def comparison_table(both: list[tuple[Entry, Entry]], cards: tuple[dict[str, Any], dict[str, Any]]) -> Table:
    """Draw a line a pair, and the geometric mean of each family below."""
    table = blank(
        "Two results", "problem", "dtype", "operation", "contender", "old", "new", "new / old", "to yardstick"
    )
    for pair in both:
        old, new = pair
        change = ratio(pair)
        style = "red" if change > NOTED else "green" if change < 1.0 / NOTED else ""
        yards = "–"
        if old.to_yardstick is not None and new.to_yardstick is not None:
            yards = f"{digits(old.to_yardstick.median)} → {digits(new.to_yardstick.median)}"
        table.add_row(
            *heading(new.group),
            named(new),
            duration(old.seconds.median),
            duration(new.seconds.median),
            Text(digits(change), style=style),
            yards,
        )
    families = dict.fromkeys(new.family for _, new in both)
    said = []
    for family in families:
        changes = [ratio(pair) for pair in both if pair[1].family == family]
        mean = float(np.exp(np.mean(np.log(changes))))
        said.append(
            f"{family}: {len(changes)} in both, geometric mean {digits(mean)}, worst {digits(max(changes))}"
        )
    if not same_machine(cards):
        said.append("two machines, or other versions: the times tell little, ratios to a yardstick more")
    table.caption = "\n".join(said)
    return table


def same_machine(cards: tuple[dict[str, Any], dict[str, Any]]) -> bool:
    """Tell whether two machine cards name one kind of processor and the same versions."""
    old, new = ({key: card.get(key) for key in ("cpu", "cores", "python", "libraries")} for card in cards)
    return old == new
