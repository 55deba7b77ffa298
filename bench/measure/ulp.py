"""The largest error, in units in the last place, of everybody's three functions.

`python -m bench.measure.ulp` shows it. The reference is mpmath with 60 digits. An error is counted where
the exact result is a normal number; seeds are fixed. The ranges, for rows of K = 10 and of K = 1000 logits
(the error of a sum grows with K):

    unit        normal, of variance 1
    exact       normal × 3 on a grid of 1/1024, where x − max is exact in either precision
    wide        normal × 25: what rounding x − max loses, e^(x − max) loses too, whoever subtracts
    confident   one logit of 0, the others near −40: log_softmax of the one is about −K e^−40
    huge        ±10,000
    small       normal / 1,000,000
    masked      normal × 3, where more than half of the entries are −inf
"""

from __future__ import annotations

import functools
import importlib.util
from typing import TYPE_CHECKING, Any

import mpmath
import numpy as np
import scipy.special

import bench.measure.numba_cache  # noqa: F401 - before anything imports Numba
import fastsoftmax

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.table import Table

FUNCTIONS = ("softmax", "log_softmax", "logsumexp")
DTYPES = (np.float32, np.float64)
SIZES = ((10, 50), (1000, 3))  # K and rows
DIGITS = 60
LIMIT = 2.0
"""In ulp, and K/8 relative eps besides: the goal."""


def rows_of(n_rows: int, size: int) -> dict[str, np.ndarray]:
    """Give logits (n, K) in float64 by range."""
    rng = np.random.default_rng(size)
    normal = rng.normal(size=(n_rows, size))
    here = rng.integers(size, size=n_rows)
    confident, masked = (
        -40 - np.abs(3 * normal),
        np.where(rng.random(normal.shape) < 0.6, -np.inf, 3 * normal),
    )
    confident[np.arange(n_rows), here] = 0.0
    masked[np.arange(n_rows), here] = 1.5
    return {
        "unit": normal,
        "exact": np.round(3 * normal * 1024) / 1024,
        "wide": 25 * normal,
        "confident": confident,
        "huge": 1e4 * rng.choice([-1.0, 1.0], normal.shape),
        "small": 1e-6 * normal,
        "masked": masked,
    }


def exact(row: np.ndarray) -> dict[str, list[Any]]:
    """Give the three results of a row as mpmath numbers; log1p keeps the digits of a sum near one."""
    numbers = [mpmath.mpf(float(v)) for v in row]
    top = max(numbers)
    powers = [mpmath.exp(v - top) for v in numbers]
    others = mpmath.fsum(p for v, p in zip(numbers, powers) if v != top)
    count = numbers.count(top)
    log_total = mpmath.log(count) + mpmath.log1p(others / count)
    return {
        "softmax": [p / (count + others) for p in powers],
        "log_softmax": [v - top - log_total for v in numbers],
        "logsumexp": [top + log_total],
    }


def error_in_ulp(found: np.ndarray, results: list[list[Any]], n_terms: int) -> tuple[float, float]:
    """Give the largest error, and the largest beyond n_terms · eps / 8, where the result is normal."""
    kind = np.finfo(found.dtype)
    worst = beyond = 0.0
    for values, wanted in zip(found.reshape(len(results), -1), results):
        for value, right in zip(values, wanted):
            if not mpmath.isfinite(right) or abs(right) < float(kind.tiny):
                continue
            # the ulp of the exact result: 2^(its exponent) eps
            unit = mpmath.ldexp(float(kind.eps), int(mpmath.frexp(right)[1]) - 1)
            error = float(abs(mpmath.mpf(float(value)) - right) / unit) if np.isfinite(value) else np.inf
            worst = max(worst, error)
            beyond = max(beyond, error - float(n_terms * float(kind.eps) / 8 * abs(right) / unit))
    return worst, beyond


def contenders() -> dict[str, dict[str, Callable[[np.ndarray], np.ndarray]]]:
    """Give who is measured: by name, the three functions along axis 1."""
    found: dict[str, dict[str, Callable[[np.ndarray], np.ndarray]]] = {
        label: {name: functools.partial(getattr(module, name), axis=1) for name in FUNCTIONS}
        for label, module in (("fastsoftmax", fastsoftmax), ("SciPy", scipy.special))
    }
    if importlib.util.find_spec("torch"):
        import torch

        def through(name: str, x: np.ndarray) -> np.ndarray:
            return np.asarray(getattr(torch, name)(torch.from_numpy(x), 1))

        found["PyTorch"] = {name: functools.partial(through, name) for name in FUNCTIONS}
    return found


def measure() -> list[tuple[str, str, int, str, dict[str, tuple[float, float]]]]:
    """Give a line for each function, dtype, K and range, with everybody's errors."""
    everybody = contenders()
    lines = []
    for dtype in DTYPES:
        for size, n_rows in SIZES:
            for range_, rows in rows_of(n_rows, size).items():
                x = rows.astype(dtype)
                with mpmath.workdps(DIGITS), np.errstate(all="ignore"):
                    results = [exact(row) for row in x]
                    for name in FUNCTIONS:
                        wanted = [result[name] for result in results]
                        errors = {
                            who: error_in_ulp(np.asarray(functions[name](x)), wanted, size)
                            for who, functions in everybody.items()
                        }
                        lines.append((name, np.dtype(dtype).name, size, range_, errors))
    return sorted(lines, key=lambda line: (FUNCTIONS.index(line[0]), line[1], line[2]))


def table_of(lines: list[tuple[str, str, int, str, dict[str, tuple[float, float]]]]) -> Table:
    """Lay the lines out as a table."""
    from rich.table import Table

    table = Table(title="Largest error in ulp", caption="green: the least; red: more than 2 ulp + K·eps/8")
    for heading in ("function", "dtype", "K", "range"):
        table.add_column(heading, justify="right" if heading == "K" else "left")
    everybody = list(lines[0][4])
    for who in everybody:
        table.add_column(who, justify="right")
    before: tuple[Any, ...] = ()
    for name, dtype, size, range_, errors in lines:
        group = (name, dtype, size)
        if before and group != before:
            table.add_section()
        least = min(worst for worst, _ in errors.values())
        cells = [cell(*errors[who], least) for who in everybody]
        shown = ("", "", "") if group == before else (name, dtype, str(size))
        table.add_row(*shown, range_, *cells)
        before = group
    return table


def cell(worst: float, beyond: float, least: float) -> str:
    """Give an error as text, with its colour."""
    text = f"{worst:.2f}" if worst < 1000 else f"{worst:.1e}"
    if beyond > LIMIT:
        return f"[red]{text}[/red]"
    return f"[green]{text}[/green]" if worst <= least else text


def main() -> None:
    """Measure and print."""
    from rich.console import Console

    Console().print(table_of(measure()))


if __name__ == "__main__":
    main()
