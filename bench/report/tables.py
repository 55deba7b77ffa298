"""The tables: what was measured, in a terminal's width."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from bench.contenders import OURS
from bench.measure.results import Spread
from bench.report.backend_tables import backends_table
from bench.report.cells import (
    RANGE,
    VERDICT,
    WORDS,
    blank,
    digits,
    duration,
    heading,
    named,
    spread,
    tally,
    verdict,
)
from bench.report.certificate_tables import certificate_table
from bench.report.cold_tables import cold_table
from bench.report.comparisons import bandwidth, best_rival, excess, groups
from bench.report.dask_tables import dask_table
from bench.report.disk_tables import disk_tables
from bench.report.family_tables import families_table
from bench.report.goals import fit_memory, goal_of, reached
from bench.report.optimum_tables import levels_table, optimum_table
from bench.report.slopes import by_axis, seconds_by_threads, slope, upper_half
from bench.report.small_tables import small_cases_table, small_table
from bench.report.sparse_cv_tables import sparse_cv_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from bench.measure.results import Entry

TITLES = {
    "rows": "Row kernels",
    "passes": "Passes over X",
    "fits": "Fits",
    "memory": "Peak memory",
    "scaling": "How time grows",
    "optimum": "Time to the optimum",
    "sparse": "Elastic nets, seconds of the processor on one thread",
    "certified": "Certificates",
    "small": "Small problems",
    "families": "Families of problems",
    "disk": "Rows on disk",
    "sparse-cv": "Cross-validation of sparse models",
    "dask": "Two workers of Dask",
    "cold": "Whole processes",
    "backends": "In other libraries",
}
PRODUCTS = "products: those that a verb contains; of predict X·Wᵀ alone, of gram XᵀX once a class"


def tables(entries: list[Entry], every: bool) -> Iterator[Table]:
    """Give a table a family that was run: our line a group, or with `every` a line a contender."""
    whole = {
        "fits": fits_table,
        "memory": memory_table,
        "cold": cold_table,
        "sparse-cv": sparse_cv_table,
        "dask": dask_table,
        "families": families_table,
        "backends": backends_table,
    }
    for family, title in TITLES.items():
        chosen = [entry for entry in entries if entry.family == family]
        members = groups(chosen)
        if family == "scaling" and chosen:
            yield scaling_table(title, chosen)
        elif members and family in ("optimum", "sparse"):
            yield (levels_table if every else optimum_table)(title, members)
            certified = [entry for entry in chosen if "certificate" in entry.noted]
            if certified:
                yield certificate_table(TITLES["certified"], certified)
        elif chosen and family == "certified":
            yield certificate_table(title, chosen)
        elif members and family == "disk":
            yield from disk_tables(title, members)
        elif members and family == "small":
            yield (small_cases_table if every else small_table)(title, members)
        elif members and family in whole:
            yield whole[family](title, members)
        elif members:
            yield (contender_table if every else our_table)(title, family, members)


def limit_of(family: str) -> list[str]:
    """Name the columns that compare with the yardstick."""
    return ["GB/s", "÷ copy", RANGE] if family == "rows" else ["÷ products", RANGE]


def limit_cells(entry: Entry) -> list[Text | str]:
    """Fill the columns that compare with the yardstick."""
    rate = [digits(bandwidth(entry).median)] if entry.family == "rows" else []
    return [*rate, *spread(entry.to_yardstick)]


def our_table(title: str, family: str, members: dict[Any, dict[str, Entry]]) -> Table:
    """Give a line a group: us, the limit and the goal, and the best of the others."""
    limit = limit_of(family)[-2:]  # the ratio and its range
    columns = ["problem", "dtype", "operation", "predicted", "measured", *limit, "goal", VERDICT]
    table = blank(title, *columns, "best other", "time", "÷ ours", RANGE)
    verdicts = []
    for key, group in members.items():
        if OURS not in group:
            continue
        ours, rival = group[OURS], best_rival(group)
        against = [named(rival), duration(rival.seconds.median), *spread(rival.to_ours)] if rival else []
        goal, met = goal_cells(group)
        verdicts.append(met.plain)
        times = predicted(ours), duration(ours.seconds.median)
        table.add_row(*heading(key), *times, *spread(ours.to_yardstick), goal, met, *against)
    notes = [tally(verdicts), PRODUCTS if family == "passes" else None]
    table.caption = "; ".join(filter(None, notes)) or None
    return table


def predicted(entry: Entry) -> str:
    """Write the time that the bytes and flops of an entry take at the machine's rates."""
    seconds = entry.noted.get("predicted_seconds")
    return "–" if seconds is None else duration(seconds)


def goal_cells(group: dict[str, Entry]) -> tuple[Text, Text]:
    """Write our goal, and whether it was met; nothing where there is none, or who it names was not there."""
    goal = goal_of(group[OURS])
    measured = None if goal is None else reached(goal, group)
    if goal is None or measured is None:
        return Text(goal.text if goal else "–", style="dim"), Text("")
    return Text(goal.text), verdict(measured <= goal.limit)


def contender_table(title: str, family: str, members: dict[Any, dict[str, Entry]]) -> Table:
    """Give a line a contender, fastest first."""
    table = blank(
        title, "problem", "dtype", "operation", "contender", "time", *limit_of(family), "÷ ours", RANGE
    )
    for key, group in members.items():
        first = heading(key)
        for entry in sorted(group.values(), key=lambda entry: entry.seconds):
            cells = [
                named(entry),
                duration(entry.seconds.median),
                *limit_cells(entry),
                *spread(entry.to_ours),
            ]
            table.add_row(*first, *cells)
            first = ["", "", ""]
        table.add_section()
    return table


def fits_table(title: str, members: dict[Any, dict[str, Entry]]) -> Table:
    """Give a line a contender: time means little without the distance from the optimum beside it."""
    columns = [
        "problem",
        "dtype",
        "contender",
        "time",
        "excess",
        "accuracy",
        "iterations",
        "passes",
        "÷ ours",
        RANGE,
    ]
    table = blank(title, *columns)
    for key, group in members.items():
        first = heading(key)[:2]
        for entry in sorted(group.values(), key=lambda entry: entry.noted["objective"]):
            above = excess(entry, group)
            table.add_row(
                *first,
                named(entry),
                duration(entry.seconds.median),
                f"{above:.1e}" if above else Text("best", style="dim"),
                f"{entry.noted['accuracy']:.4f}",
                str(entry.noted["iterations"]),
                str(entry.noted["passes"] or "–"),
                *spread(entry.to_ours),
            )
            first = ["", ""]
        table.add_section()
    return table


def memory_table(title: str, members: dict[Any, dict[str, Entry]]) -> Table:
    """Give a line a contender: what it held beside its data, which its results are part of."""
    table = blank(title, *WORDS[:4], "data", "results", "held beside data", "÷ ours", "goal", VERDICT, "time")
    for key, group in members.items():
        first = heading(key)
        for entry in sorted(group.values(), key=held):
            ratio = digits(held(entry) / held(group[OURS])) if OURS in group else "–"
            sizes = (size(entry.noted[name]) for name in ("data_bytes", "result_bytes"))
            goal = memory_goal(entry)
            table.add_row(
                *first,
                named(entry),
                *sizes,
                size(held(entry)),
                ratio,
                *goal,
                duration(entry.seconds.median),
            )
            first = ["", "", ""]
        table.add_section()
    table.caption = "time: one call, not repeated; what a fit of another held after its first steps"
    return table


def held(entry: Entry) -> int:
    """Give the bytes that a call held at its peak above what was there before."""
    return entry.noted["peak_bytes"] - entry.noted["before_bytes"]


def size(n_bytes: int) -> str:
    """Write bytes with three digits and a decimal unit."""
    unit, name = (1e9, "GB") if n_bytes >= 1e9 else (1e6, "MB")
    return f"{digits(n_bytes / unit)} {name}"


def memory_goal(entry: Entry) -> tuple[Text, Text]:
    """Write the goal for the memory of our fits, and whether it was met."""
    if entry.contender != OURS or entry.noted["n_params"] is None:
        return Text("–", style="dim"), Text("")
    limit = fit_memory(entry.noted["n_params"])
    return Text(f"≤ {size(limit)}"), verdict(held(entry) <= limit)


def scaling_table(title: str, entries: list[Entry]) -> Table:
    """Give a line an axis: slopes of the logarithms over a range of sizes, and what the threads are worth."""
    axes = by_axis(entries)
    threads = list(seconds_by_threads(entries[:1]))
    slopes = (f"slope, {label}" for label in threads)
    table = blank(title, "grows", "fixed", "from", "to", *slopes, "largest", "predicted", "speed-up", RANGE)
    for axis, points in axes.items():
        part = upper_half(points)
        sizes, largest = [entry.noted["size"] for entry in points][part], points[-1]
        found = (slope(sizes, seconds[part]) for seconds in seconds_by_threads(points).values())
        (turns,) = largest.noted["in_turn"].values()
        speed_up = Spread(*(1 / turns["ratio"][i] for i in (0, 2, 1)))  # its range turns over
        table.add_row(
            axis,
            largest.noted["fixed"],
            f"{sizes[0]:,}",
            f"{sizes[-1]:,}",
            *(f"{value:.2f}" for value in found),
            duration(largest.seconds.median),
            predicted(largest),
            *spread(speed_up),
        )
    table.caption = (
        "time ~ sizeᵇ: b by least squares of the logarithms, from … to …; the largest by all threads"
    )
    return table
