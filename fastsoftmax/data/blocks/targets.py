"""The targets and weights of blocks, as a loss takes them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.data import validation
from fastsoftmax.data.blocks import block as blocks
from fastsoftmax.data.blocks.block import Coded
from fastsoftmax.data.blocks.labels import Encoder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastsoftmax.contracts import Array, DType, Vector
    from fastsoftmax.data.blocks.block import Block


@dataclass(frozen=True)
class Targets:
    """The map from labels to targets.

    Parameters
    ----------
    classes : ndarray (K,)
    n_outputs : int
        The number of logits: one is the binary model, whose target is that of the second class.
    loss : {"softmax", "sigmoid"}
    is_matrix : bool
        Whether labels are a matrix (n, K) of numbers in [0, 1].
    dtype : dtype
        Of targets that are no integers.
    by_class : ndarray (K,), optional
        The factor of the weight of a class's rows.
    one_vs_rest : bool
        Whether labels become a sigmoid for each class: of a block at a time, a matrix of 0 and 1.
    is_wide : bool
        Whether targets of `dtype` are turned to float64: the same numbers, for products in float64.
    """

    classes: Array
    n_outputs: int
    loss: str
    is_matrix: bool
    dtype: DType
    by_class: Vector | None = None
    one_vs_rest: bool = False
    is_wide: bool = False
    encoder: Encoder | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not self.is_matrix and self.encoder is None:
            object.__setattr__(self, "encoder", Encoder(self.classes))

    def in_float64(self) -> Targets:
        """Return the same targets as float64."""
        return replace(self, is_wide=True)

    @property
    def made_bytes(self) -> int:
        """The bytes of a row's target beside its label: those of a sigmoid for each class."""
        itemsize = 8 if self.is_wide else np.dtype(self.dtype).itemsize
        return self.n_outputs * itemsize if self.one_vs_rest and not self.is_matrix else 0

    def most_rows(self, n_bytes: int) -> int:
        """Return the rows whose targets, if they are made of labels, take so many bytes."""
        return n_bytes // max(1, self.made_bytes)

    def as_codes(self) -> Targets:
        """Return targets that are the codes of which these are made (`made_of`)."""
        return replace(self, one_vs_rest=False)

    def of(self, block: Block) -> tuple[Array, Vector]:
        """Return the targets (n,) or (n, n_outputs), and the weights (n,), of a block.

        Raises ValueError, naming file and row, for labels and weights that cannot be.
        """
        if block.weight is None:
            weight = np.ones(block.n_rows)
        else:
            weight = blocks.weights(block.weight, block.file, block.first)
        if self.is_matrix:
            return self._matrix(block), weight
        assert self.encoder is not None
        codes = self.encoder.codes(block)
        if self.by_class is not None:
            weight = np.multiply(weight, self.by_class[codes], out=np.zeros_like(weight), where=weight > 0)
        if self.n_outputs > 1 and not self.one_vs_rest:
            return codes, weight
        return self.made_of(codes), weight

    def made_of(self, codes: NDArray[np.int64]) -> Array:
        """Return 0 and 1 (n, n_outputs) of the codes (n,) of labels."""
        own = np.arange(self.n_outputs) if self.one_vs_rest else 1
        return (codes[:, np.newaxis] == own).astype(np.float64 if self.is_wide else self.dtype)

    def _matrix(self, block: Block) -> Array:
        y = block.y
        assert y is not None
        assert not isinstance(y, Coded)
        try:
            target = validation.probabilities(
                y, len(self.classes), self.dtype, rows_sum_to_one=self.loss == "softmax" or self.one_vs_rest
            )
        except ValueError as error:
            rows = f"rows {block.first + 1} to {block.first + block.n_rows}"
            raise ValueError(f"{block.file!r}: {rows}: {error}") from error
        if self.is_wide:
            target = target.astype(np.float64, copy=False)
        return target if self.n_outputs == len(self.classes) else np.ascontiguousarray(target[:, 1:])
