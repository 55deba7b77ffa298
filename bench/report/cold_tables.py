"""The table of whole processes: what the first one takes, what every other does, and a call within one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from bench.contenders import OURS
from bench.measure.results import Spread
from bench.report.cells import RANGE, blank, duration, heading, named, spread
from bench.report.comparisons import excess

if TYPE_CHECKING:
    from rich.table import Table

    from bench.measure.results import Entry

COMPARED = ("÷ ours", RANGE)


def cold_table(title: str, members: dict[Any, dict[str, Entry]]) -> Table:
    """Give a line a contender: seconds and processor seconds of processes, and seconds of a second call."""
    columns = ["problem", "dtype", "operation", "contender", "kernels", "cold", "CPU", "new process", "CPU"]
    table = blank(title, *columns, *COMPARED, "warm", *COMPARED, "excess")
    for key, group in members.items():
        first = heading(key)
        for entry in group.values():
            n_kernels = str(entry.noted["kernels"]) if entry.contender == OURS else ""
            table.add_row(
                *first,
                named(entry),
                n_kernels,
                *times(entry, "cold"),
                *times(entry, "new process"),
                *spread(ratio(entry, "new process")),
                times(entry, "warm")[0],
                *spread(ratio(entry, "warm")),
                excess_cell(entry, group),
            )
            first = ["", "", ""]
        table.add_section()
    table.caption = f"cold, new process: whole processes; warm: a second call in one; {threads(members)}"
    return table


def times(entry: Entry, state: str) -> tuple[Text, Text]:
    """Write the seconds of a state and the processor's, or dashes where a contender has no such state."""
    measured = entry.noted["states"].get(state, {})
    return duration_of(measured.get("seconds")), duration_of(measured.get("cpu_seconds"))


def duration_of(values: list[float] | None) -> Text:
    """Write the median."""
    return Text("–", style="dim") if values is None else Text(duration(values[0]))


def ratio(entry: Entry, state: str) -> Spread | None:
    """Give a contender's seconds divided by ours in the same rounds."""
    turns = entry.noted["states"].get(state, {}).get("in_turn")
    return Spread(*turns[OURS]["ratio"]) if turns else None


def excess_cell(entry: Entry, group: dict[str, Entry]) -> Text:
    """Write how far a fit was from the best one; nothing of what is no fit."""
    if "objective" not in entry.noted:
        return Text("")
    above = excess(entry, group)
    return Text(f"{above:.1e}") if above else Text("best", style="dim")


def threads(members: dict[Any, dict[str, Entry]]) -> str:
    """Say how many cores everybody had, what the environment said of threads, and whose kernels ran."""
    noted = next(iter(next(iter(members.values())).values())).noted
    settings = [f"{name}={value}" for name, value in noted["thread_settings"].items()]
    entries = (entry for group in members.values() for entry in group.values())
    ours = next((entry.noted["kernels_from"] for entry in entries if "kernels_from" in entry.noted), "")
    shown = f"{noted['threads']} cores, {', '.join(settings) or 'threads as libraries start them by default'}"
    return f"{shown}; kernels: {ours}" if ours else shown
