"""The tables of times to the optimum: ours and the best other's to 10⁻⁶, or everybody's to every level."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from bench.contenders import OURS
from bench.report.cells import VERDICT, blank, digits, duration, named, tally, verdict
from bench.report.comparisons import first_of, least_excess, time_to
from bench.report.goals import LEVEL, sooner

if TYPE_CHECKING:
    from rich.table import Table

    from bench.measure.results import Entry


def optimum_table(title: str, members: dict[Any, dict[str, Entry]]) -> Table:
    """Give a line a set and penalty: our "auto", the best of our others, and the best of the rest."""
    columns = ["problem", "dtype", "C", "first fit", "time", "passes", "best other", "time", "÷ ours"]
    table = blank(f"{title}: to (F − F*) / F* = {LEVEL:.0e}", *columns, "goal", VERDICT, "F* certified to")
    verdicts = []
    for (_, problem, dtype, strength), group in members.items():
        ours = first_of((e for name, e in group.items() if name == f"{OURS} auto"), LEVEL)
        ours = ours or first_of((e for name, e in group.items() if name.startswith(OURS)), LEVEL)
        rivals = [entry for name, entry in group.items() if not name.startswith(OURS)]
        if ours is None:
            continue
        met = sooner_than(ours, rivals)
        verdicts.append(met.plain)
        rival = first_of(rivals, LEVEL)
        against = [named(rival), arrival(rival, LEVEL), times_ours(rival, ours)] if rival else ["–"] * 3
        goal = f"≥ {sooner(rival.contender):g}" if rival else "–"
        at = time_to(ours, LEVEL)
        passes = f"{at[1]:.0f}" if at and at[1] is not None else "–"
        own = duration(ours.noted["first_fit_seconds"]), arrival(ours, LEVEL), passes
        certified = ours.noted["optimum_gap"]
        bound = "–" if certified is None else f"{certified:.0e}"
        table.add_row(problem, dtype, strength.removeprefix("C = "), *own, *against, goal, met, bound)
    table.caption = "; ".join(filter(None, [tally(verdicts), left_out(members)])) or None
    return table


def levels_table(title: str, members: dict[Any, dict[str, Entry]]) -> Table:
    """Give a line a contender: seconds to each level, and where its curve ended."""
    levels = list(next(iter(next(iter(members.values())).values())).noted["reached"])
    table = blank(title, "problem", "dtype", "C", "contender", *levels, "least", "ended")
    for (_, problem, dtype, strength), group in members.items():
        first = [problem, dtype, strength.removeprefix("C = ")]
        for entry in group.values():
            cells = [arrival(entry, float(level)) for level in levels]
            table.add_row(*first, named(entry), *cells, f"{least_excess(entry):.0e}", entry.noted["ended"])
            first = ["", "", ""]
        table.add_section()
    table.caption = left_out(members)
    return table


def arrival(entry: Entry, level: float) -> Text:
    """Write when a contender was at a level; else that its time was up, or that it stopped above it."""
    at = time_to(entry, level)
    if at:
        return Text(duration(at[0]))
    late = entry.noted["ended"] == "time limit"
    return Text(f"> {entry.noted['limit_seconds']:g} s" if late else "never", style="dim")


def seconds_at_least(entry: Entry) -> float:
    """Give the seconds to LEVEL, or the time limit where that was too short, or infinity if it stopped."""
    at = time_to(entry, LEVEL)
    if at:
        return at[0]
    return float(entry.noted["limit_seconds"]) if entry.noted["ended"] == "time limit" else float("inf")


def times_ours(rival: Entry, ours: Entry) -> str:
    """Write a rival's time to LEVEL divided by ours."""
    at = time_to(ours, LEVEL)
    least = seconds_at_least(rival)
    if at is None or least == float("inf"):
        return "–"
    return ("" if time_to(rival, LEVEL) else "> ") + digits(least / at[0])


def sooner_than(ours: Entry, rivals: list[Entry]) -> Text:
    """Write whether we were as much sooner at LEVEL as is meant, than everyone; nothing if nobody knows."""
    at = time_to(ours, LEVEL)
    wanted = [(entry, sooner(entry.contender) * (at[0] if at else float("inf"))) for entry in rivals]
    if any(time_to(entry, LEVEL) and seconds_at_least(entry) < least for entry, least in wanted):
        return verdict(False)
    if at is None or any(seconds_at_least(entry) < least for entry, least in wanted):
        return Text("")  # their time was up before ours times the goal
    return verdict(True) if rivals else Text("")


def left_out(members: dict[Any, dict[str, Entry]]) -> str | None:
    """Say who was left out of which groups, and why."""
    places: dict[str, list[str]] = {}
    for (_, problem, _, _), group in members.items():
        for contender, reason in next(iter(group.values())).noted["left_out"].items():
            known = places.setdefault(f"{contender}: {reason}", [])
            known += [problem] * (problem not in known)
    everywhere = {problem for _, problem, _, _ in members}
    lines = [
        text if set(where) == everywhere else f"{text} ({', '.join(where)})" for text, where in places.items()
    ]
    return "left out: " + "; ".join(lines) if lines else None
