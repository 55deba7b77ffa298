"""The page of benchmarks, made from results in bench/results and the machine card that each of them holds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.measure import results
from bench.report.cells import machine_line
from bench.report.tables import tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

FOLDER = Path(__file__).parents[1] / "bench" / "results"
INTRODUCTION = """# Benchmarks

Every table is made from a result that the project keeps, in `bench/results`, which also holds what the
machine was. Contenders run in turn in one process, after a rest; figures are medians, ratios are of the
same run. What `copy` and `products` mean, and how each measure is taken, is told in `bench/README.md`, as
is how to repeat it: `python -m bench`.
"""


class Shown(NamedTuple):
    """A result on the page: its file's name, what it is called, and what may be said of it in a sentence."""

    name: str
    title: str
    sentence: str


SHOWN = (
    Shown(
        "quick",
        "Row kernels, passes and fits, float32",
        "The grid that `python -m bench run --quick` measures.",
    ),
    Shown("passes", "Passes over X", "Beside the matrix products that they contain."),
    Shown(
        "passes_sparse",
        "Passes over sparse X, since",
        "Newsgroups and intents, after a change of the kernels.",
    ),
    Shown("float64", "The same in float64", "Exponentials cost twice as much, and bytes are twice as many."),
    Shown("optimum_c1", "Fits to the optimum, C = 1", "Seconds until F is within 10⁻⁶ of the minimum."),
    Shown("optimum_c001", "Fits to the optimum, C = 0.01", "A strong penalty."),
    Shown("optimum_c100", "Fits to the optimum, C = 100", "A weak penalty."),
    Shown("certified", "Certificates", "How long after arriving a fit knows that it has arrived."),
    Shown("small", "Small fits and predictions", "Milliseconds, where calls cost as much as arithmetic."),
    Shown("disk", "Rows on disk", "Readings, seconds and peak memory of rows that are read by blocks."),
    Shown(
        "disk_sparse",
        "A million hashed rows",
        "Beside Vowpal Wabbit and SGDClassifier, two minutes each.",
    ),
    Shown("dask", "Two workers of Dask", "Beside one process of two threads."),
    Shown("backends", "In other libraries", "Losses, objectives and trainings beside the libraries' own."),
    Shown("sparse", "Sparse models to the optimum", "Seconds until F of elastic nets is near its minimum."),
    Shown("sparse_cv", "Cross-validation of sparse models", "Processor seconds on one thread, beside saga."),
    Shown("scaling", "How a pass grows", "By rows, features and classes, on one thread and on all."),
    Shown("memory", "Memory of functions", "Peaks above the data, each in a process of its own."),
    Shown("memory_fits", "Memory of fits", "Peaks above the data, each in a process of its own."),
    Shown("cold", "Starting up from a checkout", "Whole processes, with kernels that Numba compiles."),
    Shown("cold_wheel", "Starting up from a wheel", "Whole processes, with kernels that the wheel brings."),
)


def write(page: Path) -> None:
    """Write the page if it has changed, so that an unchanged one is not built again."""
    text = "\n".join([INTRODUCTION, *(line for shown in SHOWN for line in _section(shown))])
    if not page.exists() or page.read_text(encoding="utf-8") != text:
        page.write_text(text, encoding="utf-8")


def _section(shown: Shown) -> Iterator[str]:
    path = FOLDER / f"{shown.name}.json"
    card, entries = results.read(path)
    yield f"\n## {shown.title}\n\n{shown.sentence}\n"
    for table in tables(entries, every=False):
        yield _markdown(table)
    picture = path.with_suffix(".png")
    if picture.exists():
        yield f"\n![{shown.title}](../bench/results/{picture.name})\n"
    yield f"\n{machine_line(card)} (`bench/results/{path.name}`)\n"


def _markdown(table: Table) -> str:
    """Return a table of the terminal as one of Markdown, without columns that hold nothing."""
    columns = [[_plain(column.header) or "range", *map(_plain, column.cells)] for column in table.columns]
    columns = [cells for cells in columns if any(cells[1:])]
    if not columns:
        return ""
    rows = [f"| {' | '.join(row)} |" for row in zip(*columns, strict=True)]
    rule = f"|{' --- |' * len(columns)}"
    caption = f"\n{_plain(table.caption)}\n" if table.caption else ""
    return "\n".join(["", rows[0], rule, *rows[1:], caption])


def _plain(cell: object) -> str:
    text = getattr(cell, "plain", None) or str(cell or "")
    return re.sub(r"\s+", " ", re.sub(r"\[/?[a-z ]+\]", "", text)).replace("|", "\\|").strip()
