"""What an objective of rows elsewhere is made of: their source, the loss and the penalty."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax import losses
from fastsoftmax.contracts.wording import shown
from fastsoftmax.data import validation
from fastsoftmax.data.blocks.targets import Targets
from fastsoftmax.penalties.squared_norm import SquaredNorm
from fastsoftmax.runtime.buffers import BufferPool
from fastsoftmax.sources.dear import DearSource, source_of

if TYPE_CHECKING:
    from fastsoftmax.contracts import Loss
    from fastsoftmax.data.blocks.row_set import RowSet


def parts(
    rows: RowSet,
    l2: float,
    n_classes: int | None,
    label_smoothing: float,
    loss: str,
    device: str,
    n_threads: int | None,
) -> tuple[DearSource, Loss, SquaredNorm]:
    """Return the source, the loss and the penalty of `SoftmaxObjective(rows, …)`. One reading, if none was.

    Raises
    ------
    ValueError
        An option is out of range, `n_classes` is not the number of classes found, or `device` is a GPU.
    """
    penalty = SquaredNorm().with_strength(l2)
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"label_smoothing must lie in [0, 1]; got {shown(label_smoothing)}")
    if device not in ("cpu", "auto"):
        raise ValueError(f"rows from files are computed on by the CPU; got device={shown(device)}")
    look, classes = rows.look(), rows.classes
    is_matrix = look.n_columns is not None
    if n_classes is not None and n_classes != len(classes):
        if is_matrix or classes.dtype.kind not in "iu" or not 0 <= classes[0] <= classes[-1] < n_classes:
            raise ValueError(f"n_classes={n_classes}, and the rows have {len(classes)} classes")
        classes = np.arange(n_classes)
    family = losses.family(loss)
    if not (is_matrix or family.TAKES_LABELS):
        raise ValueError(f"loss={shown(loss)} takes a matrix (n, K) of labels in [0, 1]")
    targets = Targets(classes, len(classes), loss, is_matrix, look.dtype)
    like = np.zeros((1, len(classes)), look.dtype) if is_matrix else np.zeros(1, np.int64)
    the_loss = family.for_targets(like, len(classes), label_smoothing=label_smoothing)
    source = source_of(rows, targets, the_loss, validation.thread_count(n_threads), BufferPool())
    return source, the_loss, penalty
