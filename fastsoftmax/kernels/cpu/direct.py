"""Values and gradients of one block's rows at many parameters, call after call, in memory taken once.

What a pass needs beside its parameters (the stored matrix, the tiles, the partial sums) is put together when
the object is made. A pass over a thousand rows takes ten microseconds, and all that is done for it in Python
besides should take less.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import Csr, Mixture, Params, row_slice
from fastsoftmax.kernels.cpu import csr, dense, partition
from fastsoftmax.kernels.cpu.gather import products, stored
from fastsoftmax.kernels.cpu.verbs import Diagonal, Dual, LossGrad
from fastsoftmax.losses import family_of
from fastsoftmax.runtime.executor import even_bounds, run
from fastsoftmax.runtime.kernels import Kernel
from fastsoftmax.runtime.lazy_attributes import lazy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastsoftmax.contracts import Loss, RowBlock, Rows, Vector

_sum_rows = Kernel("fastsoftmax.kernels.cpu.jitted.dense", "sum_rows")
_forward = Kernel("fastsoftmax.kernels.cpu.jitted.csr", "forward")
_back = Kernel("fastsoftmax.kernels.cpu.jitted.csr", "back", divisible=True)
_write_logits = Kernel("fastsoftmax.kernels.cpu.jitted.dense", "write_logits")
_sum_single = Kernel("fastsoftmax.kernels.cpu.jitted.csr_single_output", "sum_rows")
_feasible = Kernel("fastsoftmax.kernels.cpu.jitted.feasible", "feasible")
FLOAT64 = np.dtype(np.float64)
SQUARED_AT_ONCE = 2**15  # numbers of X: 256 KiB stay in a second-level cache for their products
# Nanoseconds of a part, about: those of a pass in line are calls that cost some microseconds each.
PART_WORK = 200_000
# Entries of a part for each feature, where each part has a gradient of its own to clear and to add.
ENTRIES_PER_FEATURE = 8
FLOOR = 1e-10  # of a column's variance, as a fraction of its mean square


def seconds_of_pass(X: Rows, n_outputs: int) -> float:
    """Return about how long one thread takes for a pass over the rows, by their number and storage alone.

    Measured at 300 × 20 to 3,000 × 2,000, K = 1 to 10, on one core of an AMD EPYC.
    """
    n_rows, n_features = X.shape
    if isinstance(X, Csr):
        products = len(X.data) * (1.5 if n_outputs == 1 else 3.5 + 0.1 * n_outputs)
    else:
        products = n_rows * n_features * (0.4 + 0.1 * n_outputs)
    return 1e-9 * (products + n_rows * (10.0 + 4.0 * n_outputs))


def passes(
    loss: Loss, block: RowBlock, n_outputs: int, weights: Vector, n_threads: int | None, *, together: bool
) -> Passes:
    """Return the passes over a block's rows for the rows of `weights` (m, n), in float64 products.

    With `together` each pass is one range of rows, for many parameters in one thread. Probability targets
    have to be float64. Sparse X needs its transpose unless there is one output.
    """
    kind: type[Passes] = _DensePasses
    if isinstance(block.X, Csr):
        kind = _SingleSparsePasses if n_outputs == 1 else _SparsePasses
    return kind(loss, block, n_outputs, weights, n_threads, together)


class Passes:
    """The sums of a loss over a block's rows at m parameters, each with weights of its own.

    Attributes
    ----------
    coef, intercept : ndarrays (m, K d) and (m, K)
        The parameters, to be written to.
    values, coef_sums, intercept_sums : ndarrays (m,), (m, K d) and (m, K)
        The results of `evaluate`: Σ wᵢ ℓᵢ and its gradient.
    weights : ndarray (m, n)
    """

    def __init__(
        self,
        loss: Loss,
        block: RowBlock,
        n_outputs: int,
        weights: Vector,
        n_threads: int | None,
        together: bool,
    ) -> None:
        n_sets, n_features = len(weights), block.X.shape[1]
        self.loss: Any = loss
        self.block, self._n_threads, self.weights = block, n_threads, weights
        self._shape = n_outputs, n_features
        self.coef, self.coef_sums = np.zeros((2, n_sets, n_outputs * n_features))
        self.intercept, self.intercept_sums = np.zeros((2, n_sets, n_outputs))
        self.values = np.zeros(n_sets)
        self._work = 1e9 * seconds_of_pass(block.X, n_outputs)
        self._n_parts = 1 if together else max(1, min(partition.MAX_PARTS, int(self._work / PART_WORK)))
        self._prepare()

    def _prepare(self) -> None:
        """Take the memory that passes over such rows need."""
        raise NotImplementedError

    def evaluate(self, n_sets: int) -> None:
        """Compute the sums at the first `n_sets` parameters. One pass over X."""
        self._sum(LossGrad(), 0, n_sets, np.empty((0, self._shape[0])))

    def params(self, i: int) -> Params:
        """Return parameters i, as views."""
        return Params(self.coef[i].reshape(self._shape), self.intercept[i])

    def logits(self, i: int) -> Vector:
        """Return the logits (n, K) at parameters i. Half a pass."""
        raise NotImplementedError

    def square(self, i: int) -> float:
        """Return Σ wᵢ ‖zᵢ‖² of the logits at parameters i. Half a pass."""
        z = self.logits(i)
        return float(self.weights[i] @ np.einsum("ik,ik->i", z, z))

    def dual(self, i: int, total: float, mean_target: Vector) -> float:
        """Return the dual value near parameters i, in nats; the residuals' sums take the place of the sums.

        One pass and a half. `total` is Σ wᵢ, `mean_target` (K,) the weighted means of the targets.
        """
        z = self.logits(i)
        mixture = feasible_mixture(self.loss, z, self.weights[i], total, mean_target)
        self._sum(Dual(1, *mixture), i, i + 1, z)
        return -float(self.values[i])

    def diagonal(self, i: int) -> None:
        """Leave the diagonal of the Hessian of Σ wᵢ ℓᵢ at parameters i in place of the sums. One pass."""
        self._sum(Diagonal(), i, i + 1, np.empty((0, self._shape[0])))

    def moments(self, fit_intercept: bool, i: int = 0) -> Vector:
        """Return (2, d): the means of the columns by weights i, and their variances around those.

        Without intercepts the means are 0. A variance is at least a hundred thousandth, squared, of the
        column's mean square: less would be rounding.
        """
        with np.errstate(over="ignore", invalid="ignore"):  # then F is not finite, either
            found = self._column_sums(self.weights[i])
            found /= self.weights[i].sum()
            least = FLOOR * found[1]
            square = found[0] * found[0]
        if fit_intercept:
            with np.errstate(invalid="ignore"):
                found[1] -= square
        else:
            found[0] = 0.0
        np.maximum(found[1], least, out=found[1])
        return found

    def _column_sums(self, weight: Vector) -> Vector:
        """Return (2, d): Σ wᵢ xᵢⱼ and Σ wᵢ xᵢⱼ²."""
        raise NotImplementedError

    def _sum(self, verb: Any, start: int, stop: int, kept: Vector) -> None:
        """Write the sums of a verb at parameters start to stop; `kept` (n, K) are known logits, or empty."""
        raise NotImplementedError


def feasible_mixture(
    loss: Loss, logits: Vector, weight: Vector, total: float, mean_target: Vector
) -> Mixture:
    """Return the mixture near known logits (n, K) whose mean probabilities are the mean targets.

    A few exponentials a logit. `total` is Σ wᵢ.
    """
    shift, q = np.zeros((2, len(mean_target)))
    theta = np.zeros(1)
    exclusive = bool(family_of(loss).ROWS_SUM_TO_ONE)
    _feasible.serial(0, len(logits), 0, exclusive, logits, weight, total, mean_target, shift, theta, q)
    return Mixture(shift, float(theta[0]), q)


class _DensePasses(Passes):
    """Passes over dense rows: all parameters in one reading."""

    def _prepare(self) -> None:
        n_rows, n_features = self.block.X.shape
        n_sets, n_outputs = self.intercept.shape
        self._tile_rows = partition.tile_rows(n_features, n_outputs, 8)
        self._bounds: NDArray[np.int64] = even_bounds(n_rows, self._n_parts)
        n_parts = len(self._bounds) - 1
        self._values = np.zeros((n_parts, n_sets, 2))
        # Of one part, the partial sums are the sums.
        one = n_parts == 1
        shape = n_parts, n_sets, n_outputs
        self._coefs = (self.coef_sums if one else np.zeros((n_parts, *self.coef_sums.shape))).reshape(
            *shape, n_features
        )
        self._intercepts = (self.intercept_sums if one else np.zeros(shape)).reshape(shape)
        self._classes = even_bounds(n_outputs, 1)
        self._no_values, self._no_grad = np.empty(0), np.empty((0, n_features))
        self._scratch = 8 * self._tile_rows * (n_features + n_outputs)

    @lazy
    def _stored(self) -> Any:
        """The rows as kernels see them, at the first pass: to know a problem is small compiles nothing."""
        return stored(self.block.X, FLOAT64)

    @lazy
    def _products(self) -> Any:
        """The addresses of products."""
        return products(FLOAT64)

    def logits(self, i: int) -> Vector:
        """Return the logits (n, K) at parameters i. Half a pass."""
        coef, intercept = self.params(i)
        n_rows, n_outputs = self.block.n_rows, self._shape[0]
        out = np.empty((n_rows, n_outputs))
        arguments = self._products, self._stored, coef, intercept, self._classes, self._tile_rows, out
        if self._n_parts == 1:
            _write_logits.serial(0, n_rows, 0, *arguments)
        else:
            run(
                _write_logits, self._bounds, *arguments, work=0.3 * self._work, n_threads=self._n_threads
            )  # fmt: skip
        return out

    def _column_sums(self, weight: Vector) -> Vector:
        n_rows, n_features = self.block.X.shape
        found = np.zeros((2, n_features))
        step = max(1, SQUARED_AT_ONCE // n_features)
        for first in range(0, n_rows, step):
            # In C order, whatever that of X: the order of the sums is BLAS's.
            rows = np.ascontiguousarray(dense.in_float64(row_slice(self.block.X, first, first + step))[0])
            weights = weight[first : first + step]
            found[0] += weights @ rows
            np.multiply(rows, rows, out=rows)
            found[1] += weights @ rows
        return found

    def _sum(self, verb: Any, start: int, stop: int, kept: Vector) -> None:
        sets = slice(start, stop)
        n_outputs, n_features = self._shape
        values, coefs, intercepts = self._values[:, sets], self._coefs[:, sets], self._intercepts[:, sets]
        values[:], coefs[:], intercepts[:] = 0.0, 0.0, 0.0
        coef = self.coef[sets].reshape(-1, 1, n_outputs, n_features)
        arguments = (
            verb, self.loss, isinstance(verb, Diagonal), self._products, self._stored, self.block.target,
            self.weights[sets], coef, self.intercept[sets].reshape(-1, 1, n_outputs), self._tile_rows, kept,
            values, self._no_values, coefs, intercepts, self._no_grad,
        )  # fmt: skip
        if len(self._bounds) == 2:
            _sum_rows.serial(0, int(self._bounds[1]), 0, *arguments)
            self.values[sets] = values[0, :, 0]
            return
        run(
            _sum_rows, self._bounds, *arguments, work=self._work * (stop - start), n_threads=self._n_threads,
            cut=self._tile_rows, scratch=self._scratch,
        )  # fmt: skip
        for i in range(start, stop):
            self.values[i] = math.fsum(values[:, i - start, 0])
        np.sum(coefs.reshape(len(coefs), stop - start, -1), axis=0, out=self.coef_sums[sets])
        np.sum(intercepts, axis=0, out=self.intercept_sums[sets])


class _SparsePasses(Passes):
    """Passes over sparse rows: one after the other, as reading the coefficients takes the time."""

    def _prepare(self) -> None:
        X: Any = self.block.X
        n_rows, n_features = X.shape
        n_outputs = self._shape[0]
        self._bounds = csr.balanced_bounds(X.indptr, self._n_parts)
        self._column_bounds = csr.balanced_bounds(X.transpose.indptr, self._n_parts)
        self._rows = X.data.astype(FLOAT64, copy=False), X.indices, X.indptr
        transpose = X.transpose
        self._columns = transpose.data.astype(FLOAT64, copy=False), transpose.indices, transpose.indptr
        n_parts = len(self._bounds) - 1
        self._values, self._intercepts = np.zeros(n_parts), np.zeros((n_parts, n_outputs))
        self._dlogits, self._by_feature = np.empty((n_rows, n_outputs)), np.empty((1, n_features, n_outputs))
        self._tile_rows = partition.sparse_tile_rows(n_outputs, 1)
        self._no_values = np.empty(0)

    def logits(self, i: int) -> Vector:
        """Return the logits (n, K) at parameters i. Half a pass."""
        return csr.logits(self.params(i), self.block.X, self._n_threads, FLOAT64, buffers=self.block.buffers)

    def _column_sums(self, weight: Vector) -> Vector:
        found = np.empty((2, self._shape[1]))
        for squared in (False, True):
            self._back(squared, weight[:, np.newaxis], found[int(squared) :][:1])
        return found

    def _back(self, squared: bool, dlogits: Vector, out: Vector) -> None:
        """Write Σᵢ xᵢⱼ dlogitsᵢₖ (K, d), or with `squared` that of xᵢⱼ², to out."""
        run(
            _back, self._column_bounds, squared, *self._columns, dlogits, csr.tile_columns(len(out)), out,
            work=0.5 * self._work, n_threads=self._n_threads,
        )  # fmt: skip

    def _sum(self, verb: Any, start: int, stop: int, kept: Vector) -> None:
        for i in range(start, stop):
            if not kept.size:
                np.copyto(self._by_feature[0], self.coef[i].reshape(self._shape).T)
            self._values[:], self._intercepts[:] = 0.0, 0.0
            run(
                _forward, self._bounds, verb, self.loss, *self._rows, self.block.target, self.weights[i],
                self._by_feature, self.intercept[i : i + 1], self._tile_rows, kept, self._dlogits,
                self._values, self._no_values, self._intercepts, work=0.5 * self._work,
                n_threads=self._n_threads,
            )  # fmt: skip
            self._back(isinstance(verb, Diagonal), self._dlogits, self.coef_sums[i].reshape(self._shape))
            self.values[i] = math.fsum(self._values)
            np.sum(self._intercepts, axis=0, out=self.intercept_sums[i])


class _SingleSparsePasses(Passes):
    """Passes over sparse rows of one output: by rows only, so that no transpose is built.

    Of two to ten outputs columns of X that gather dlogits take half of the time of rows that scatter them.
    """

    def _prepare(self) -> None:
        X: Any = self.block.X
        n_features = X.shape[1]
        n_parts = min(self._n_parts, len(X.data) // (ENTRIES_PER_FEATURE * max(1, n_features)))
        self._bounds = csr.balanced_bounds(X.indptr, max(1, n_parts))
        self._rows = X.data.astype(FLOAT64, copy=False), X.indices, X.indptr
        n_parts = len(self._bounds) - 1
        self._values, self._intercepts = np.zeros(n_parts), np.zeros((n_parts, 1))
        self._gradients = np.zeros((n_parts, n_features))
        # Of any number of entries: tiles that stay in a first-level cache are no quicker.
        self._tile_rows = partition.sparse_tile_rows(1, 1)

    def logits(self, i: int) -> Vector:
        """Return the logits (n, 1) at parameters i. Half a pass."""
        return csr.logits(self.params(i), self.block.X, self._n_threads, FLOAT64, buffers=self.block.buffers)

    def _column_sums(self, weight: Vector) -> Vector:
        # Squares of entries, even where a row has two of one column: the moments only precondition.
        from scipy.sparse import csr_array  # imported where it is needed: it takes a tenth of a second

        rows = csr_array(self.block.X.shape)
        rows.data, rows.indices, rows.indptr = self._rows  # the constructor would look through the indices
        means = rows.T @ weight
        rows.data = np.square(rows.data)
        return np.stack((means, rows.T @ weight))

    def _sum(self, verb: Any, start: int, stop: int, kept: Vector) -> None:
        for i in range(start, stop):
            self._values[:], self._gradients[:], self._intercepts[:] = 0.0, 0.0, 0.0
            arguments = (
                verb, self.loss, isinstance(verb, Diagonal), *self._rows, self.block.target, self.weights[i],
                self.coef[i].reshape(-1, 1), self.intercept[i : i + 1], self._tile_rows, kept, self._values,
                self._gradients, self._intercepts,
            )  # fmt: skip
            if len(self._values) == 1:
                _sum_single.serial(0, self.block.n_rows, 0, *arguments)
            else:
                run(
                    _sum_single, self._bounds, *arguments, work=self._work, n_threads=self._n_threads
                )  # fmt: skip
            self.values[i] = math.fsum(self._values)
            np.sum(self._gradients, axis=0, out=self.coef_sums[i])
            np.sum(self._intercepts, axis=0, out=self.intercept_sums[i])
