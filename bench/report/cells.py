"""What tables are made of: times, ratios with their ranges, names, verdicts and the machine as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

from bench.contenders import OURS
from bench.report.comparisons import spaced

if TYPE_CHECKING:
    from bench.measure.results import Entry, Spread

WORDS = ("problem", "dtype", "operation", "contender", "best other", "grows", "fixed", "C")  # columns of text
RANGE = VERDICT = ""  # the heading of the column beside a ratio, or a goal
MET, MISSED = "met", "missed"
UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


def duration(seconds: float) -> str:
    """Write a time with three digits and its unit."""
    unit, name = next(((unit, name) for unit, name in UNITS if seconds >= unit), UNITS[-1])
    return f"{digits(seconds / unit)} {name}"


def digits(number: float) -> str:
    """Write a number with three digits, without an exponent."""
    return f"{number:.{max(0, 2 - len(str(int(number))) + 1)}f}"


def spread(ratio: Spread | None) -> tuple[Text, Text]:
    """Write a ratio and, fainter, its range over rounds, for two columns."""
    if ratio is None:
        return Text("–", style="dim"), Text("")
    several = ratio.low < ratio.high
    over_rounds = f"{digits(ratio.low)}–{digits(ratio.high)}" if several else ""
    return Text(digits(ratio.median)), Text(over_rounds, style="dim")


def named(entry: Entry) -> Text:
    """Write a contender's name; ours stands out."""
    return Text(entry.contender, style="bold" if entry.contender.split()[0] == OURS else "")


def heading(group: tuple[str, ...]) -> list[str]:
    """Write what a group computes, as the first cells of its first line."""
    _, problem, dtype, operation = group
    return [spaced(problem), dtype, operation]


def blank(title: str, *columns: str) -> Table:
    """Start a table: text to the left, numbers to the right."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for column in columns:
        left = column in (*WORDS, RANGE)
        table.add_column(column, justify="left" if left else "right", no_wrap=True)
    return table


def tally(verdicts: list[str]) -> str | None:
    """Count the goals met; nothing where there are none."""
    judged = verdicts.count(MET) + verdicts.count(MISSED)
    return f"{verdicts.count(MET)} of {judged} goals met" if judged else None


def verdict(met: bool) -> Text:
    """Write whether a goal was met."""
    return Text(MET, style="green") if met else Text(MISSED, style="red")


def machine_line(card: dict[str, Any]) -> str:
    """Say on one line what it ran on."""
    rates = card["gemm_gflop_per_s"]
    gemm = f"gemm {rates['float32']:.0f} GFLOP/s in float32, {rates['float64']:.0f} in float64"
    return f"{card['cpu']}, {card['cores']} cores · copy {card['copy_gb_per_s']} GB/s · {gemm}"
