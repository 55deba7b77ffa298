"""The information of rows in the coefficients, and other sums of products: by BLAS, each sum held once.

The information of a softmax is, for logits k and l, the sum of w pₖ (δₖₗ − pₗ) x xᵀ: symmetric in the
features, too, so a pair of classes is one weight a row, and K (K + 1) / 2 of them say all. Of each pair BLAS
sums the products of two features, n q² flops; or, of many pairs and few features, all pairs and all pairs of
features are one product of matrices (pairs, n) and (n, q (q + 1) / 2). Both take about half the flops of all
classes' products with themselves, n (K q)², which do not know of the second symmetry. (One thread, a row in
units of that product and the classes' own: 0.5 to 0.9 of it up to five classes and of 200 features, 0.8 of 10
classes and 50 features, 0.5 of 26, 0.3 of 10 classes and 10 features.)
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Vector

# The products of features are formed for every class pair at once where there are this many pairs a feature:
# with 51 terms the two ways take as long at some 7 classes, with 11 at 3.
PAIRS_PER_TERM = 0.6
# Rows and products of features that are formed at a time: 4 MiB, about what a core's own cache holds.
ROWS, PRODUCTS = 512, 1024
PANEL = 256  # rows of a matrix that are formed or mirrored at a time
WHOLE = 1024  # the order of a sum to which all products are added at once: 8 MiB more


class ProductSum:
    """A sum of products Σ aᵢ aᵢᵀ (size, size), of which the upper triangle counts.

    `into` (size, size), zero, is the memory of the sum; by default its own.
    """

    def __init__(self, size: int, into: Vector | None = None) -> None:
        self._sum = np.zeros((size, size)) if into is None else into

    def add(self, rows: Vector) -> None:
        """Add the products of rows (n, size)."""
        # By NumPy's products: SciPy's wrappers of BLAS hold the interpreter's lock, and threads take turns.
        # A matrix times its own transpose is half as many flops (dsyrk), and takes the memory of the sum.
        if len(self._sum) <= WHOLE:
            self._sum += rows.T @ rows
            return
        for first in range(0, len(self._sum), PANEL):
            panel = rows[:, first : first + PANEL]
            self._sum[first : first + PANEL, first:] += panel.T @ rows[:, first:]

    def merge(self, other: ProductSum) -> None:
        """Add another sum."""
        self._sum += other._sum

    def whole(self) -> Vector:
        """Return the sum, whole, in the same memory."""
        return symmetric(self._sum)


def symmetric(matrix: Vector, lower: bool = False) -> Vector:
    """Return a square matrix, filled in place from one triangle: by default the upper one."""
    source, size = (matrix if lower else matrix.T), len(matrix)
    for first in range(0, size, PANEL):
        last = min(first + PANEL, size)
        corner = source[first:last, first:last]
        corner[...] = np.tril(corner) + np.tril(corner, -1).T
        source[first:last, last:] = source[last:, first:last].T
    return matrix


def outer(a: Vector, b: Vector) -> Vector:
    """Return the products of each row's numbers, (n, m q), of a (n, m) and b (n, q)."""
    return (a[:, :, np.newaxis] * b[:, np.newaxis, :]).reshape(len(a), -1)


def sum_size(n_kept: int, n_terms: int, exclusive: bool) -> int:
    """Return how many float64 the sums of `Curvature` hold."""
    n_pairs = n_kept * (n_kept + 1) // 2 if exclusive else n_kept
    if exclusive and n_pairs >= PAIRS_PER_TERM * n_terms:
        return n_pairs * (n_terms * (n_terms + 1) // 2)
    return n_pairs * n_terms**2


class Curvature:
    """The information Σ w (diag p − p pᵀ) ⊗ x xᵀ, or of independent labels Σ w p (1 − p) x xᵀ of each.

    Parameters
    ----------
    n_kept, n_terms : int
        The numbers of logits and of terms.
    exclusive : bool
        Whether it is that of a softmax.
    """

    def __init__(self, n_kept: int, n_terms: int, exclusive: bool) -> None:
        self._n_kept, self._n_terms, self._exclusive = n_kept, n_terms, exclusive
        labels = np.arange(n_kept)
        self._first, self._second = np.triu_indices(n_kept) if exclusive else (labels, labels)
        n_pairs = len(self._first)
        self._sums: _EachPair | _AllPairs
        if exclusive and n_pairs >= PAIRS_PER_TERM * n_terms:
            self._sums = _AllPairs(n_pairs, n_terms)
        else:
            self._sums = _EachPair(n_pairs, n_terms)

    def add(self, columns: Vector, proba: Vector, rest: Vector, weight: Vector) -> None:
        """Add rows of terms (n, q) with the probabilities p and 1 − p (n, m) and weights (n,)."""
        others = np.where(self._first == self._second, rest[:, self._second], proba[:, self._second])
        others *= proba[:, self._first]
        others *= weight[:, np.newaxis]
        self._sums.add(columns, others)

    def merge(self, other: Curvature) -> None:
        """Add the sums of other rows."""
        self._sums.blocks += other._sums.blocks

    @property
    def diagonal(self) -> Vector:
        """The diagonal of the information, (m, q)."""
        diagonal: Vector = self._sums.diagonals[self._first == self._second]
        return diagonal

    def pairs(self) -> Iterator[tuple[int, int, Vector]]:
        """Yield k, l and the block (q, q) of the information, a new array, of each two logits k ≤ l."""
        for pair, (k, other) in enumerate(zip(self._first.tolist(), self._second.tolist(), strict=True)):
            block = self._sums.block(pair)
            yield k, other, block if k == other else np.negative(block, out=block)

    def information(self) -> Vector:
        """Return the blocks (1, m q, m q), or of independent labels (m, q, q), C-ordered.

        Those of labels are the sums' own memory; that of a softmax is new.
        """
        m, q = self._n_kept, self._n_terms
        if isinstance(self._sums, _EachPair) and len(self._first) == m:
            for block in self._sums.blocks:
                symmetric(block)
            return self._sums.blocks
        whole = np.empty((m, q, m, q))
        for k, other, block in self.pairs():
            whole[k, :, other] = block
            whole[other, :, k] = block
        return whole.reshape(1, m * q, m * q)


class _EachPair:
    """The sums of x xᵀ with the weights of each pair of classes; `blocks` (pairs, q, q), upper triangles."""

    def __init__(self, n_pairs: int, n_terms: int) -> None:
        self.blocks = np.zeros((n_pairs, n_terms, n_terms))
        self._products = [ProductSum(n_terms, block) for block in self.blocks]

    def add(self, columns: Vector, weights: Vector) -> None:
        """Add rows (n, q) with weights (n, pairs), not negative; these are overwritten."""
        roots = np.sqrt(weights, out=weights)
        for pair, products in enumerate(self._products):
            products.add(roots[:, pair : pair + 1] * columns)

    @property
    def diagonals(self) -> Vector:
        """The diagonals of the sums, (pairs, q)."""
        return np.diagonal(self.blocks, axis1=1, axis2=2)

    def block(self, pair: int) -> Vector:
        """Return the sum of a pair, (q, q)."""
        return symmetric(self.blocks[pair].copy())


class _AllPairs:
    """The same sums; `blocks` (pairs, q (q + 1) / 2) are upper triangles, by rows."""

    def __init__(self, n_pairs: int, n_terms: int) -> None:
        self.blocks = np.zeros((n_pairs, n_terms * (n_terms + 1) // 2))
        self._n_terms = n_terms
        self._bounds = _bounds(n_terms)

    def add(self, columns: Vector, weights: Vector) -> None:
        """Add rows (n, q) with weights (n, pairs)."""
        q = self._n_terms
        products = np.empty((max(PRODUCTS, q), min(ROWS, len(columns))))
        for start in range(0, len(columns), ROWS):
            of_terms = np.ascontiguousarray(columns[start : start + ROWS].T)
            of_pairs = np.ascontiguousarray(weights[start : start + ROWS].T)
            n_rows, place = of_terms.shape[1], 0
            for first, last in self._bounds:
                width = 0
                for term in range(first, last):
                    part = products[width : width + q - term, :n_rows]
                    np.multiply(of_terms[term:], of_terms[term], out=part)
                    width += q - term
                self.blocks[:, place : place + width] += of_pairs @ products[:width, :n_rows].T
                place += width

    @property
    def diagonals(self) -> Vector:
        """The diagonals of the sums, (pairs, q)."""
        terms = np.arange(self._n_terms)
        return self.blocks[:, terms * self._n_terms - terms * (terms - 1) // 2]

    def block(self, pair: int) -> Vector:
        """Return the sum of a pair, (q, q)."""
        q, place = self._n_terms, 0
        block = np.empty((q, q))
        for term in range(q):
            block[term, term:] = self.blocks[pair, place : place + q - term]
            place += q - term
        return symmetric(block)


def _bounds(n_terms: int) -> list[tuple[int, int]]:
    """Return ranges of terms whose products with those from them on are at most PRODUCTS, or one term's."""
    cuts, width = [0], 0
    for term in range(n_terms):
        if width and width + n_terms - term > PRODUCTS:
            cuts.append(term)
            width = 0
        width += n_terms - term
    return list(pairwise([*cuts, n_terms]))


def probabilities(logits: Vector, exclusive: bool) -> tuple[Vector, Vector]:
    """Return p and 1 − p, each without cancellation, of logits (n, K) of a softmax or of sigmoids."""
    if not exclusive:
        e = np.exp(-np.abs(logits))
        large, small = 1.0 / (1.0 + e), e / (1.0 + e)
        return np.where(logits >= 0.0, large, small), np.where(logits >= 0.0, small, large)
    best: tuple[NDArray[np.intp], NDArray[np.intp]] = np.arange(len(logits)), logits.argmax(axis=1)
    e = np.exp(logits - logits[best][:, np.newaxis])
    e[best] = 0.0
    others = e.sum(axis=1)
    e[best] = 1.0
    rest = (1.0 + others)[:, np.newaxis] - e
    rest[best] = others
    scale = 1.0 / (1.0 + others)[:, np.newaxis]
    return e * scale, rest * scale
