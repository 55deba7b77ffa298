"""The tables of small problems: how ours does on the whole, where it does worst, and the other's F."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from rich.text import Text

from bench.contenders import OURS
from bench.contenders.estimators import AS_LOW, THEIRS
from bench.report.cells import RANGE, blank, digits, duration, spread

if TYPE_CHECKING:
    from rich.table import Table

    from bench.measure.results import Entry


def small_table(title: str, members: dict[Any, dict[str, Entry]]) -> Table:
    """Give a line a part: the geometric mean of scikit-learn's time over ours, and the worst case by name."""
    columns = "operation", "cases", "sklearn ÷ ours", "below 1", "worst", RANGE, "worst case", "ours"
    table = blank(title, *columns, "its F too high by", AS_LOW)
    for part, groups in by_part(members).items():
        ratios = np.array([group[THEIRS].to_ours.median for group in groups if group[THEIRS].to_ours])
        worst = groups[int(ratios.argmin())]
        below = int(np.sum(ratios < 1))
        as_low = [entry.to_ours.median for group in groups if (entry := group.get(AS_LOW)) and entry.to_ours]
        table.add_row(
            part,
            str(len(groups)),
            geometric_mean(ratios),
            Text(str(below), style="red" if below else "green"),
            *spread(worst[THEIRS].to_ours),
            case_of(worst[THEIRS]),
            duration(worst[OURS].seconds.median),
            excess([share for group in groups if (share := excess_of(group)) is not None]),
            geometric_mean(np.array(as_low)) if as_low else Text("–", style="dim"),
        )
    table.caption = caption(members)
    return table


def small_cases_table(title: str, members: dict[Any, dict[str, Entry]]) -> Table:
    """Give a line a case, the worst of each part first."""
    columns = "operation", "problem", "ours", "sklearn", "sklearn ÷ ours", RANGE, "its F too high by", AS_LOW
    table = blank(title, *columns, RANGE)
    for part, groups in by_part(members).items():
        first = part
        for group in sorted(groups, key=lambda group: group[THEIRS].to_ours or group[THEIRS].seconds):
            times = (duration(group[name].seconds.median) for name in (OURS, THEIRS))
            share = excess_of(group)
            table.add_row(
                first,
                case_of(group[THEIRS]),
                *times,
                *spread(group[THEIRS].to_ours),
                excess([] if share is None else [share]),
                *spread(group[AS_LOW].to_ours if AS_LOW in group else None),
            )
            first = ""
        table.add_section()
    table.caption = caption(members)
    return table


def by_part(members: dict[Any, dict[str, Entry]]) -> dict[str, list[dict[str, Entry]]]:
    """Put the contenders of the cases of each part together."""
    parts: dict[str, list[dict[str, Entry]]] = {}
    for group in members.values():
        parts.setdefault(group[OURS].noted["part"], []).append(group)
    return parts


def excess_of(group: dict[str, Entry]) -> float | None:
    """Give by which part of ours the other's F lies above ours; None where neither was noted."""
    own, other = (group[name].noted.get("objective") for name in (OURS, THEIRS))
    return None if own is None or other is None else max(0.0, other / own - 1.0)


def excess(shares: list[float]) -> Text:
    """Write the median of such parts."""
    if not shares:
        return Text("–", style="dim")
    return Text(f"{float(np.median(shares)):.0e}".replace("e-0", "e-"))


def geometric_mean(ratios: np.ndarray) -> str:
    """Write the geometric mean."""
    return digits(float(np.exp(np.log(ratios).mean())))


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
    return (
        f"both at their default tolerances, in turn; threads: {', '.join(map(str, threads))}; {judged}\n"
        f"{AS_LOW}: its time ÷ ours with a tolerance by which its F is as low as ours, where there is one"
    )
