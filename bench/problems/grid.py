"""Which problems are run: a line a problem, by family and by what is offered for it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.problems.fits import Digits, FashionMnist, Newsgroups
from bench.problems.passes import Dense, Head, SyntheticCsr, Text
from bench.problems.rows import Columns, LabelledRows, Rows

if TYPE_CHECKING:
    from bench.problems.descriptions import Problem


def both(problem: Problem) -> list[Problem]:
    """Give a problem in float32, and in float64 for the full grid."""
    return [problem, replace(problem, dtype="float64", quick=False)]


def narrow(problem: Problem) -> list[Problem]:
    """Give a problem in the two formats of 16 bits."""
    # NumPy converts float16 entry by entry, which takes a second.
    return [replace(problem, dtype="float16", dear=("naive",)), replace(problem, dtype="bfloat16")]


def by_key(*groups: list[Problem]) -> dict[str, Problem]:
    """Index problems by the name that tests and results use."""
    return {problem.key: problem for group in groups for problem in group}


SHAPES: dict[str, dict[str, Any]] = {
    "1000000x10": {"n_rows": 1_000_000, "n_classes": 10},
    "100000x100": {"n_rows": 100_000, "n_classes": 100},
    "20000x1000": {"n_rows": 20_000, "n_classes": 1_000},
    "512x128256": {"n_rows": 512, "n_classes": 128_256},
    "64x10": {"n_rows": 64, "n_classes": 10},
}
HUGE = "512x128256"  # in float64 half a gigabyte an array: making and comparing them takes longer than timing
SLOWER = ("scipy", "numexpr")  # than others, wherever results are large

ROWS = by_key(
    [Rows(name, "float32", **SHAPES[name], dear=SLOWER if name == HUGE else ()) for name in SHAPES],
)
DOUBLE_ROWS = by_key(
    [Rows(name, "float64", **SHAPES[name], dear=SLOWER, quick=name != HUGE) for name in SHAPES],
)
NARROW_ROWS = by_key(
    *(narrow(Rows(name, "", **SHAPES[name])) for name in ("1000000x10", "20000x1000")),
    *(narrow(Rows(name, "", **SHAPES[name], quick=False)) for name in ("100000x100", HUGE)),
)
COLUMNS = by_key(
    both(Columns("1000000x10", "float32", **SHAPES["1000000x10"])),
    both(Columns("100000x100", "float32", **SHAPES["100000x100"], quick=False)),
    both(Columns("20000x1000", "float32", **SHAPES["20000x1000"])),
)
LABELLED_ROWS = by_key(
    both(LabelledRows("1000000x10", "float32", **SHAPES["1000000x10"])),
    both(LabelledRows("20000x1000", "float32", **SHAPES["20000x1000"], dear=SLOWER)),
)
NARROW_LABELLED_ROWS = by_key(
    *(narrow(LabelledRows(name, "", **SHAPES[name], quick=False)) for name in ("1000000x10", "20000x1000"))
)

RIVALS = ("naive", "sklearn", "torch")  # of passes; where one takes half a second, the products will do

DENSE = by_key(
    both(Dense("60000x784x10", "float32", 60_000, 784, 10)),
    both(Dense("200000x54x7", "float32", 200_000, 54, 7)),
    both(Dense("100000x512x100", "float32", 100_000, 512, 100, dear=RIVALS)),
    both(Dense("20000x768x1000", "float32", 20_000, 768, 1_000, dear=RIVALS)),
)

SPARSE = by_key(
    both(Text("newsgroups20", "float32")),
    both(Text("clinc150", "float32")),
    both(SyntheticCsr("zipf", "float32", n_rows=10_000, n_features=50_000, n_classes=20, per_row=100)),
)

GRAM_BYTES = 64 * 2**20  # class blocks that take more are of use to nobody: there are cheaper preconditioners
DENSE_GRAMS = {
    key: problem
    for key, problem in DENSE.items()
    if problem.n_classes * (problem.n_features + 1) ** 2 * np.dtype(problem.dtype).itemsize <= GRAM_BYTES
}
SPARSE_GRAMS = by_key(
    both(SyntheticCsr("zipf_512", "float32", n_rows=20_000, n_features=512, n_classes=20, per_row=30)),
)

HEADS = by_key(
    [Head("2048x512x32000", "float32", 2_048, 512, 32_000)],
    [Head("4096x2048x128256", "float32", 4_096, 2_048, 128_256, rounds=1, quick=False)],
)

# A capped contender is reported with the objective it reached; the full grid lets each run as far as it will.
DENSE_FITS = by_key(
    [Digits("digits", "float64")],
    [FashionMnist("fashion_mnist_10000", "float32", n_rows=10_000, max_iter=150, rounds=1)],
    [FashionMnist("fashion_mnist", "float32", n_rows=60_000, max_iter=1000, rounds=1, quick=False)],
)
SPARSE_FITS = by_key(
    [Newsgroups("newsgroups20", "float64", max_iter=25, rounds=1, dear=("scipy", "torch"))],
)
