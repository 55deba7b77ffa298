"""The table of cross-validations with absolute values in the penalty."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from bench.contenders import OURS
from bench.measure.sparse_cv import AS_FAR, END, ONE, PATH, THEIRS
from bench.report.cells import blank, digits, duration

if TYPE_CHECKING:
    from rich.table import Table

    from bench.measure.results import Entry

# At least, at most, at most.
GOALS = {AS_FAR: 15.0, ONE: 12.0, PATH: 5.0}


def sparse_cv_table(title: str, members: dict[Any, dict[str, Entry]]) -> Table:
    """Give a line a set and l1_ratio: ours, saga's time over it, it over one fit, and a path over its end."""
    table = blank(
        title, "problem", "C", "not zero", "ours", "saga ÷ ours", "saga's F too high by",
        "saga as far ÷ ours", "its epochs, tol", "ours ÷ one fit",
        "path of 100 C ÷ its end",
    )  # fmt: skip
    for group in members.values():
        ours = group[OURS]
        ratios = {
            AS_FAR: group[AS_FAR].seconds.median / ours.seconds.median if AS_FAR in group else None,
            ONE: ours.seconds.median / group[ONE].seconds.median,
            PATH: group[PATH].seconds.median / group[END].seconds.median,
        }
        cells = {
            name: Text("–")
            if ratio is None
            else Text(digits(ratio), style="green" if (ratio >= GOALS[name]) == (name == AS_FAR) else "red")
            for name, ratio in ratios.items()
        }
        noted = ours.noted
        table.add_row(
            ours.problem, f"{noted['C']:.3g}", str(noted["nonzero"]), duration(ours.seconds.median),
            digits(group[THEIRS].seconds.median / ours.seconds.median), f"{noted['too_high']:.1e}",
            cells[AS_FAR], f"{noted.get('epochs', 0)}, {noted.get('as_far_tol', 0.0):g}", cells[ONE],
            cells[PATH],
        )  # fmt: skip
    table.caption = "processor time on one thread; 10 C, 5 folds; goals: at least 15, at most 12, at most 5"
    return table
