"""The tables of rows on disk: speeds of readings, counts of them, memory, large fits, and others' fits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from bench.contenders import OURS
from bench.report.cells import RANGE, blank, digits, duration, named, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.table import Table

    from bench.measure.results import Entry

    Group = dict[str, Entry]

HELD = "in memory"
NONE = Text("–", style="dim")


def disk_tables(title: str, members: dict[Any, Group]) -> Iterator[Table]:
    """Give a table a part that was run."""
    for part, (words, make) in PARTS.items():
        chosen = [group for group in members.values() if part_of(group).startswith(part)]
        if chosen:
            yield make(f"{title}: {words}", chosen)


def part_of(group: Group) -> str:
    """Give the part that a group belongs to."""
    return str(next(iter(group.values())).noted["part"])


def name_of(group: Group) -> str:
    """Give the problem's name without that of its part."""
    return next(iter(group.values())).problem.partition(": ")[2]


def speed_table(title: str, groups: list[Group]) -> Table:
    """Give a line a state: a reading beside `cat`, and beside the same pass in memory."""
    table = blank(
        title, "problem", "files", "GB", "reading", "cat", "÷ reading", RANGE, HELD, "÷ reading", RANGE
    )
    for group in groups:
        cells = [cell for name in ("cat", HELD) for cell in beside(group.get(name))]
        ours = group[OURS]
        table.add_row(name_of(group), ours.operation, gigabytes(ours), duration(ours.seconds.median), *cells)
    return table


def format_table(title: str, groups: list[Group]) -> Table:
    """Give a line a file: the first reading beside its library's scan, and the later ones."""
    table = blank(title, "problem", "GB", "first", "scan", "÷ first", RANGE, "later")
    for group in groups:
        ours, later = group[OURS], group["later"]
        first = [name_of(group), gigabytes(ours), duration(ours.seconds.median)]
        table.add_row(*first, *beside(group["scan"]), duration(later.seconds.median))
    table.caption = (
        "scan: the file decoded to NumPy by pyarrow or h5py; the first reading also checks and caches"
    )
    return table


def held_table(title: str, groups: list[Group]) -> Table:
    """Give a line a problem: fits on disk beside fits of the same rows in memory."""
    table = blank(title, "problem", "on disk", "readings", HELD, "passes", "÷ on disk", RANGE)
    for group in groups:
        ours, held = group[OURS], group[HELD]
        time, *ratio = beside(held)
        table.add_row(
            name_of(group), duration(ours.seconds.median), readings_of(ours), time, readings_of(held), *ratio
        )
    table.caption = "certified to a relative 1e-6; readings with the first one"
    return table


def readings_table(title: str, groups: list[Group]) -> Table:
    """Give a line a set: readings to two accuracies and certified, beside the passes of rows in memory."""
    columns = "problem", "n", "d", "K", "to 1e-3", "to 1e-6", "certified", f"{HELD}: passes"
    table = blank(title, *columns)
    for group in groups:
        ours, held = group[OURS], group[HELD]
        shape = [f"{number:,}" for number in ours.noted["shape"]]
        counts = [str(ours.noted["reached"][level][1]) for level in ("1e-03", "1e-06")]
        table.add_row(name_of(group), *shape, *counts, readings_of(ours), str(last_of(held)))
    table.caption = "a sixth of the rows kept as the sample; the first reading counts"
    return table


def memory_table(title: str, groups: list[Group]) -> Table:
    """Give a line a number of rows: the peak of the process above its imports."""
    table = blank(title, "memory=", "rows", "GB", "peak", "readings", "time")
    for group in groups:
        ours = group[OURS]
        counts = [f"{ours.noted['n_rows']:,}", gigabytes(ours), megabytes(ours), readings_of(ours)]
        table.add_row(ours.noted["memory"], *counts, duration(ours.seconds.median))
    return table


def large_table(title: str, groups: list[Group]) -> Table:
    """Give a line a fit: seconds and readings to each accuracy, and the peak of its process."""
    columns = (
        "problem",
        "files",
        "GB",
        "first reading",
        "to 1e-3",
        "to 1e-6",
        "end",
        "readings",
        "gap ÷ F",
        "peak",
    )
    table = blank(title, *columns)
    for group in groups:
        ours = group[OURS]
        gap = ours.noted["gap"]
        table.add_row(
            name_of(group),
            ours.noted["state"],
            gigabytes(ours),
            duration(ours.noted["look_seconds"]),
            *(to_level(ours, level) for level in ("1e-03", "1e-06")),
            duration(ours.seconds.median),
            readings_of(ours),
            NONE if gap is None else f"{gap / ours.noted['objective']:.0e}",
            megabytes(ours),
        )
    return table


def peers_table(title: str, groups: list[Group]) -> Table:
    """Give a line a contender: seconds and passes to each accuracy, and how near he came."""
    table = blank(
        title, "problem", "contender", "to 1e-2", "to 1e-3", "to 1e-4", "÷ ours to 1e-3", "nearest", "in"
    )
    for group in groups:
        first = name_of(group)
        ours = group[OURS]
        for entry in group.values():
            levels = [to_level(entry, level) for level in ("1e-02", "1e-03", "1e-04")]
            own, other = (each.noted["reached"]["1e-03"] for each in (ours, entry))
            ratio = NONE if other is None or entry is ours else digits(other[0] / own[0])
            above = entry.noted["objective"] / ours.noted["objective"] - 1.0
            near = f"{above:.1e}" if above > 0 else "certified" if entry is ours else "optimum"
            table.add_row(first, named(entry), *levels, ratio, near, duration(entry.seconds.median))
            first = ""
    table.caption = (
        "files in the page cache; seconds and passes (ours with the first reading) to (F − F*) / F*"
    )
    return table


PARTS: dict[str, tuple[str, Callable[[str, list[Group]], Table]]] = {
    "speed": ("a reading", speed_table),
    "formats": ("formats that are slow to decode", format_table),
    "in memory": ("rows that memory could hold", held_table),
    "readings": ("how many readings", readings_table),
    "memory": ("peak memory", memory_table),
    "large": ("large fits", large_table),
    "peers": ("two classes, by others that read from disk", peers_table),
}


def beside(entry: Entry | None) -> tuple[str | Text, Text, Text]:
    """Write another's time, and its ratio to ours."""
    return (
        (NONE, NONE, Text("")) if entry is None else (duration(entry.seconds.median), *spread(entry.to_ours))
    )


def to_level(entry: Entry, level: str) -> str | Text:
    """Write seconds and passes to an accuracy."""
    there = entry.noted["reached"][level]
    return NONE if there is None else f"{duration(there[0])} ({there[1]})"


def readings_of(entry: Entry) -> str:
    """Write the readings of a whole fit, and that it was not certified where it was not."""
    count = entry.noted.get("readings") or last_of(entry)
    return f"{count}" if entry.noted["certified"] else f"{count}, not certified"


def last_of(entry: Entry) -> int:
    """Give the passes to a fit's end."""
    return int(entry.noted["passes"])


def gigabytes(entry: Entry) -> str:
    """Write the size of the rows."""
    return digits(entry.noted["data_bytes"] / 1e9)


def megabytes(entry: Entry) -> str:
    """Write the peak of the process."""
    return f"{entry.noted['peak_bytes'] / 2**20:.0f} MiB"
