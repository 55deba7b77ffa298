"""The preconditioner of one output and more sparse features than a matrix has room for, of rows in memory.

The Hessian's block of the most frequent features is that of a sample, and everything else of it the diagonal
of all rows: `fastsoftmax.preconditioners.frequent` says why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastsoftmax import devices
from fastsoftmax.contracts import Csr, RowBlock
from fastsoftmax.objective.row_blocks import has_plain_curvatures
from fastsoftmax.preconditioners import choice, frequent
from fastsoftmax.sources.array import ArraySource

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastsoftmax.contracts import DType, Params, Vector
    from fastsoftmax.contracts.protocols import LossFamily, Source

# So many entries of X for each number of the block's factor. Applying the factor reads it twice, in order,
# and a pass gathers for each entry: with 4 it takes a tenth of a pass. With 1 two halves of newsgroups20 took
# 0.8 of the steps, and 1.6 times as long.
ENTRIES_A_NUMBER = 4
# Sampled rows for each feature: with twice as many the halves of newsgroups20 took as many steps.
ROWS_A_FEATURE = 8
# What a build takes in passes: the diagonal, and nanoseconds of a product of two entries (by two threads), of
# one of two numbers of the factor, and of an entry of X in a pass.
DIAGONAL_PASSES, A_PRODUCT, A_NUMBER, AN_ENTRY = 1.5, 1.0, 0.02, 4.0


class Built(NamedTuple):
    """v ↦ M⁻¹ v, and about what it took to build, in passes."""

    inverse: Callable[[Vector], Vector]
    passes: float


def sparse_block(source: Source) -> RowBlock | None:
    """Return the rows of a source that are one block of sparse X in the host's memory; None for others."""
    block = source.block if isinstance(source, ArraySource) else None
    return block if block is not None and isinstance(block.X, Csr) else None


def serves(source: Source, family: LossFamily, n_classes: int, n_features: int, l2: float) -> bool:
    """Return whether such rows have this preconditioner: by storage, loss, outputs, features and penalty."""
    return (
        n_classes == 1
        and l2 > 0.0
        and has_plain_curvatures(family)
        and choice.form_of(n_classes, n_features)[0] == "diagonal"
        and sparse_block(source) is not None
    )


def inverse(
    source: ArraySource,
    params: Params,
    diagonal: Params,
    l2: float,
    *,
    has_intercept: bool,
    n_threads: int | None,
    dtype: DType | None,
) -> Built:
    """Return v ↦ M⁻¹ v (size,) at `params`, from the diagonal of the loss's Hessian over all rows.

    Of n rows with N entries the block has m = √(N / 4) features, n / 8 at most: 4 m² bytes, m³ / 3 flops and
    a sparse product of 8 m rows.
    """
    block = sparse_block(source)
    assert block is not None
    assert isinstance(block.X, Csr)
    most_bytes = frequent.ITEMSIZE * (len(block.X.data) // ENTRIES_A_NUMBER)
    n_features = frequent.n_features(block.n_rows, block.X.shape[1], most_bytes)
    parts = [diagonal.coef.ravel(), diagonal.intercept] if has_intercept else [diagonal.coef.ravel()]
    flat = np.concatenate(parts).astype(np.float64, copy=False)
    features = frequent.most(flat[: block.X.shape[1]], n_features)
    sample = source.sample(max(1, n_features * ROWS_A_FEATURE))
    X, curvature = curved(sample, params, n_threads, dtype)
    found, n_products = frequent.inverse(flat, l2, X, curvature, features, has_intercept, n_threads)
    effort = A_PRODUCT * n_products + A_NUMBER * n_features**3 / 3
    return Built(found, DIAGONAL_PASSES + effort / (AN_ENTRY * max(1, len(block.X.data))))


def curved(
    source: ArraySource, params: Params, n_threads: int | None, dtype: DType | None
) -> tuple[Csr, Vector]:
    """Return sparse rows of one output, and the weighted curvature of each in its logit."""
    block = sparse_block(source)
    assert block is not None
    assert isinstance(block.X, Csr)
    logits = devices.host().logits(params, block.X, n_threads, dtype=dtype)
    proba = 1.0 / (1.0 + np.exp(-np.clip(logits[:, 0].astype(np.float64), -500.0, 500.0)))
    return block.X, block.weight * proba * (1.0 - proba)


def n_bytes(source: Source) -> int:
    """Return the bytes of the entries of sparse rows in memory; 0 for other rows."""
    block = sparse_block(source)
    return 0 if block is None else block.X.data.nbytes + block.X.indices.nbytes
