"""Who computes it: one module a contender, named as the library is imported.

A new contender is a new file `of_NAME.py`, here or in the folder FASTSOFTMAX_BENCH: CONTRIBUTING.md
has a recipe.

A contender offers an operation by defining a function of that name, and declines it by not doing so. The
function takes a problem's arrays, prepares what no user would pay for in a loop (wrapping, memory for results
where the library can write to it), and returns a `Call`.

softmax, log_softmax, logsumexp
    of `RowData`; read as (array,). The result is a new array, whose fresh pages are part of the price.
softmax_out
    The same into memory given by the caller, as a loop over batches has it.
cross_entropy
    of `RowData`; the mean loss and its derivative by the logits, in given memory where that can be.
sigmoid_cross_entropy
    The same of labels (n, K) that do not exclude each other: summed over a row, the mean over rows.
softmax_axis0
    of `RowData` whose columns are summed, in given memory where that can be.
`narrow_` before any of these
    of `RowData` whose logits have 16 bits, and so have results that are arrays.
value_and_grad, hessp, diagonal
    of `PassData`, without penalty, over the mean loss; (value, coef, intercept) and twice (coef, intercept).
gram
    of `PassData`; the class blocks Σ pₖ (1 − pₖ) x̃ x̃ᵀ, (K, d + 1, d + 1), x̃ being x with a one after it.
predict
    of `PassData`; the likeliest class of each row, read as the logit it has: of two classes that rounding
    cannot tell apart either is right.
`sparse_` before any of these
    of `PassData` whose X is CSR.
linear_cross_entropy, linear_cross_entropy_grad
    of `HeadData`; the mean loss, and with its derivatives by X and by the coefficients.
fit, sparse_fit
    of `FitData`; read as `Fitted`.
solvers
    Not a function but a dictionary: by the name of a solver, a function of `FitData`. It gives a function
    of the most iterations, which fits from the start and gives what came of it as `Timed`. It raises
    `NotOfferedError` where it is not for such data.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bench.problems.discovery import added, imported

if TYPE_CHECKING:
    from collections.abc import Callable


class NotOfferedError(RuntimeError):
    """The installed version of a contender has no such operation; the message says what is missing."""


class TimeLimitError(RuntimeError):
    """A fit was ended because its time was up."""


OURS = "fastsoftmax"
REFERENCE = "naive"
ADDED = added("contenders")
CONTENDERS = (OURS, REFERENCE, "scipy", "sklearn", "torch", "numexpr", *ADDED)
APART = ("cyanure",)  # contenders whose library lives in an environment of its own
VARIANTS = ("narrow_", "sparse_")  # of one operation, on other storage


def as_arrays(raw: Any) -> tuple[np.ndarray, ...]:
    """Read a result, or a tuple of results, as arrays."""
    return tuple(np.asarray(part) for part in (raw if isinstance(raw, tuple) else (raw,)))


class Call(NamedTuple):
    """`run` is timed; `read` turns what it returned into what all contenders of the operation give."""

    run: Callable[[], Any]
    read: Callable[[Any], Any] = as_arrays


class Fitted(NamedTuple):
    """What a fit gives. `passes` over X where the contender counts them, `iterations` of its solver."""

    coef: np.ndarray
    intercept: np.ndarray
    iterations: int
    passes: int | None = None


class Timed(NamedTuple):
    """A fit, and the seconds that it took."""

    fitted: Fitted
    seconds: float


def plain(operation: str) -> str:
    """Name an operation without the storage that it works on."""
    for variant in VARIANTS:
        operation = operation.removeprefix(variant)
    return operation


@functools.cache
def module_of(contender: str) -> Any:
    """Import a contender, or give None where its library is not installed."""
    if contender in ADDED:
        return imported(ADDED[contender])
    if contender not in (REFERENCE, *APART) and importlib.util.find_spec(contender) is None:
        return None
    return importlib.import_module(f"{__name__}.{contender}")


def bind(contender: str, operation: str) -> Callable[[Any], Call] | None:
    """Give the contender's function of that name, or None where it does not offer one."""
    return getattr(module_of(contender), operation, None)


def entrants(operation: str) -> list[str]:
    """Name the contenders that offer an operation here. Ours comes first, to be the first to compile."""
    return [contender for contender in CONTENDERS if bind(contender, operation) is not None]
