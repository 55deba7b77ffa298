"""The table of certificates: when fits of ours were at the tolerance, and when they had shown it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from bench.measure.certificates import TOL
from bench.report.cells import blank, digits, duration, named

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.table import Table

    from bench.measure.results import Entry

UNITS = ("seconds", "passes")


def certificate_table(title: str, entries: list[Entry]) -> Table:
    """Give a line a fit: seconds and passes at which F was within the tolerance, and at its certified end."""
    columns = ["problem", "dtype", "C", "contender", "there", "passes", "certified", "passes"]
    table = blank(f"{title}: there at (F − F*) / F* = {TOL:.0e}", *columns, *(f"÷ {unit}" for unit in UNITS))
    for entry in entries:
        found = entry.noted["certificate"]
        there, end = (cells(found[name], text) for name, text in (("there", "never"), ("end", late(entry))))
        if found["end"] and not found["certified"]:
            end = [Text(f"not: {end[0]}", style="red"), end[1]]
        ratios = [ratio_of(entry, i) for i in range(len(UNITS))]
        strength = entry.operation.removeprefix("C = ")
        table.add_row(entry.problem, entry.dtype, strength, named(entry), *there, *end, *ratios)
    table.caption = worst(entries)
    return table


def cells(at: list[float] | None, otherwise: str) -> list[Text]:
    """Write seconds and passes, or why there are none."""
    if at is None:
        return [Text(otherwise, style="dim"), Text("–", style="dim")]
    return [Text(duration(at[0])), Text(f"{at[1]:.0f}")]


def late(entry: Entry) -> str:
    """Write that a fit's time was up."""
    return f"> {entry.noted['limit_seconds']:g} s"


def ratio_of(entry: Entry, i: int) -> str:
    """Write how many times the seconds, or passes, of being there a fit took, or took at least."""
    found = entry.noted["certificate"]
    if found["ratio"] is None:
        return "–"
    return ("" if found["end"] else "> ") + digits(found["ratio"][i])


def worst(entries: list[Entry]) -> str | None:
    """Name the fits that went on for longest after they were there, and count those that never were."""
    known = [entry for entry in entries if entry.noted["certificate"]["ratio"]]
    if not known:
        return None

    def ratio_in(i: int) -> Callable[[Entry], float]:
        return lambda entry: entry.noted["certificate"]["ratio"][i]

    lines = (
        [f"{len(entries) - len(known)} of {len(entries)} never there"] if len(known) < len(entries) else []
    )
    for i, unit in enumerate(UNITS):
        entry = max(known, key=ratio_in(i))
        where = f"{entry.problem}, {entry.operation}, {entry.dtype}, {entry.contender}"
        lines.append(f"worst by {unit}: {ratio_of(entry, i)} times, {where}")
    return "\n".join(lines)
