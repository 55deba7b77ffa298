"""What is to be reached, as data: the project's targets, beside which the report puts what was measured.

The source is the design's `targets.md`, its tables "Row kernels" and "A pass over X": a row there is a line
here. A goal for softmax is one for `softmax_out`: the copy writes to given memory as well, and the pages of a
new array come from the system at the system's pace. Formats of 16 bits, labels that do not exclude each other
and axis 0 have no goal. Of passes, value and gradient and the Hessian-vector product have one, and of sparse
matrices only the former, in float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bench.contenders import CONTENDERS, OURS

if TYPE_CHECKING:
    from bench.measure.results import Entry

DOUBLE_COST = 2.0
"""float64 rows are granted this many times the ratio of float32: exp, not memory, is their cost."""


class Goal(NamedTuple):
    """At most `limit`, in seconds a call or as a multiple of somebody's time in the same rounds."""

    limit: float
    of: str

    @property
    def text(self) -> str:
        """The goal in a table's cell; the column beside it is the ratio to the yardstick."""
        if self.of == "seconds":
            return f"≤ {self.limit * 1e6:g} µs"
        return f"≤ {self.limit:g}" + (f" × {self.of}" if self.of in CONTENDERS else "")


# by problem: softmax and cross-entropy with its gradient; logsumexp
ROWS = {
    "1000000x10": (Goal(2.0, "copy"), Goal(1.5, "copy")),
    "100000x100": (Goal(1.5, "copy"), Goal(1.0, "copy")),
    "20000x1000": (Goal(1.3, "copy"), Goal(1.0, "copy")),
    "512x128256": (Goal(1.3, "copy"), Goal(0.8, "copy")),
    "64x10": (Goal(4e-6, "seconds"), Goal(4e-6, "seconds")),
}
# by problem, in float32 and float64: value and gradient, and the Hessian-vector product
PASSES = {
    "60000x784x10": Goal(0.45, "products"),
    "200000x54x7": Goal(0.8, "products"),
    "100000x512x100": Goal(1.1, "products"),
    "20000x768x1000": Goal(1.1, "products"),
    "newsgroups20": Goal(1 / 5, "sklearn"),
    "clinc150": Goal(1 / 8, "sklearn"),
}


# by operation, as other libraries call them
BACKENDS = {
    "cross_entropy": Goal(1 / 5, "torch"),
    "sigmoid_cross_entropy": Goal(1 / 5, "torch"),
    "linear_cross_entropy": Goal(1.0, "torch"),
    "xgboost objective": Goal(1 / 5, "NumPy"),
    "lightgbm objective": Goal(1 / 5, "NumPy"),
    "xgboost training": Goal(1.0, "built-in"),
    "lightgbm training": Goal(1.0, "built-in"),
}
HEAD_MEMORY = 1 / 10
"""Of what PyTorch's linear_cross_entropy holds."""


def fit_memory(n_params: int) -> int:
    """Give the bytes that a fit may hold above its data: 64 MiB and 24 float64 copies of the parameters."""
    return 64 * 2**20 + 24 * 8 * n_params


def goal_of(entry: Entry) -> Goal | None:
    """Give the goal of what an entry has measured, or None where none was set."""
    if entry.family == "backends":
        return BACKENDS.get(entry.operation)
    if entry.family == "passes" and entry.operation in ("value_and_grad", "hessp"):
        goal = PASSES.get(entry.problem)
        measured = entry.dtype, entry.operation
        sparse = goal is not None and goal.of in CONTENDERS
        return None if sparse and measured != ("float32", "value_and_grad") else goal
    if entry.family != "rows" or entry.problem not in ROWS or entry.dtype not in ("float32", "float64"):
        return None
    mapped, reduced = ROWS[entry.problem]
    goals = {"softmax_out": mapped, "cross_entropy": mapped, "logsumexp": reduced}
    if mapped.of == "seconds":
        goals["softmax"] = mapped  # small arrays are not given new pages
    goal = goals.get(entry.operation)
    if goal is None or goal.of == "seconds" or entry.dtype == "float32":
        return goal
    return goal._replace(limit=goal.limit * DOUBLE_COST)


def reached(goal: Goal, group: dict[str, Entry]) -> float | None:
    """Give what a goal's limit is compared with, or None where whom it names did not take part."""
    ours = group[OURS]
    if goal.of == "seconds":
        return ours.seconds.median
    if goal.of in CONTENDERS:
        ratio = group[goal.of].to_ours if goal.of in group else None
        return None if ratio is None else 1 / ratio.median
    return None if ours.to_yardstick is None else ours.to_yardstick.median


LEVEL = 1e-6
"""The relative suboptimality to which times to the optimum are compared."""


ELASTIC_NETS = ("glmnet path", "adelie path")


def sooner(contender: str) -> float:
    """Give how many times sooner than a contender we mean to be at LEVEL."""
    if contender.startswith("sklearn "):
        return 20.0
    return 3.0 if contender in ELASTIC_NETS else 5.0
