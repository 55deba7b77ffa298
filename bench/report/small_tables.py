"""The tables of small problems: how ours does on the whole, and where it does worst."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from rich.text import Text

from bench.contenders import OURS
from bench.report.cells import RANGE, blank, digits, duration, spread

if TYPE_CHECKING:
    from rich.table import Table

    from bench.measure.results import Entry


def small_table(title: str, members: dict[Any, dict[str, Entry]]) -> Table:
    """Give a line a part: the geometric mean of scikit-learn's time over ours, and the worst case by name."""
    columns = "operation", "cases", "sklearn ÷ ours", "below 1", "worst", RANGE, "worst case", "ours"
    table = blank(title, *columns)
    for part, pairs in by_part(members).items():
        ratios = np.array([theirs.to_ours.median for _, theirs in pairs if theirs.to_ours])
        ours, worst = pairs[int(ratios.argmin())]
        below = int(np.sum(ratios < 1))
        table.add_row(
            part,
            str(len(pairs)),
            digits(float(np.exp(np.log(ratios).mean()))),
            Text(str(below), style="red" if below else "green"),
            *spread(worst.to_ours),
            case_of(worst),
            duration(ours.seconds.median),
        )
    table.caption = caption(members)
    return table


def small_cases_table(title: str, members: dict[Any, dict[str, Entry]]) -> Table:
    """Give a line a case, the worst of each part first."""
    table = blank(title, "operation", "problem", "ours", "sklearn", "sklearn ÷ ours", RANGE)
    for part, pairs in by_part(members).items():
        first = part
        for ours, theirs in sorted(pairs, key=lambda pair: pair[1].to_ours or pair[1].seconds):
            times = (duration(entry.seconds.median) for entry in (ours, theirs))
            table.add_row(first, case_of(theirs), *times, *spread(theirs.to_ours))
            first = ""
        table.add_section()
    table.caption = caption(members)
    return table


def by_part(members: dict[Any, dict[str, Entry]]) -> dict[str, list[tuple[Entry, Entry]]]:
    """Put ours and the other's of the cases of each part together."""
    parts: dict[str, list[tuple[Entry, Entry]]] = {}
    for group in members.values():
        ours = group[OURS]
        (theirs,) = (entry for name, entry in group.items() if name != OURS)
        parts.setdefault(ours.noted["part"], []).append((ours, theirs))
    return parts


def case_of(entry: Entry) -> str:
    """Name a case: its problem, and of which of the same operations it is."""
    more = entry.operation.partition(", ")[2]
    return f"{entry.problem}, {more}" if more else entry.problem


def caption(members: dict[Any, dict[str, Entry]]) -> str:
    """Say who had how many threads, and whether the fits of ours were as good as they have to be."""
    entries = [group[OURS] for group in members.values()]
    n_wrong = sum(bool(entry.noted["complaints"]) for entry in entries)
    judged = (
        f"{n_wrong} cases with something wrong, see complaints"
        if n_wrong
        else "all of ours certified, none above the other's F"
    )
    threads = sorted({entry.noted["threads"] for entry in entries})
    return f"both at their default tolerances, in turn; threads: {', '.join(map(str, threads))}; {judged}"
