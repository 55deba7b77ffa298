"""Offsets: known logits that are added to W x + b, in fits and predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse

from fastsoftmax.contracts import Csr, DeviceArray, Halves
from fastsoftmax.contracts.wording import shown
from fastsoftmax.data import dask, sparse, validation
from fastsoftmax.data.blocks.row_set import RowSet
from fastsoftmax.estimator.fitting import Fit
from fastsoftmax.objective.offset import OffsetObjective

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastsoftmax.contracts import Array, RowBlock, Rows, Vector
    from fastsoftmax.estimator.hyperparameters import Settings
    from fastsoftmax.estimator.labels import Labels


def checked(offset: Any, n_rows: int, n_outputs: int) -> Vector:
    """Return an offset as float64 (n, K). ValueError for another shape, NaN or infinity."""
    values = validation.real("offset", offset)
    if n_outputs > 1 and values.shape == (n_rows,):
        raise ValueError(
            f"offset (n,) would add the same to all {n_outputs} logits of a row, which says nothing of the "
            f"classes: give ({n_rows}, {n_outputs}), a logit for each"
        )
    shapes = [(n_rows, n_outputs)] + ([(n_rows,)] if n_outputs == 1 else [])
    if values.shape not in shapes:
        raise ValueError(
            f"offset must have shape {' or '.join(map(str, reversed(shapes)))}; got {values.shape}"
        )
    if not np.isfinite(values).all():
        raise ValueError("offset contains NaN or infinity")
    return values.reshape(n_rows, n_outputs)


def refuse_elsewhere(X: Any) -> None:
    """Raise TypeError for rows that are not in memory."""
    if isinstance(X, RowSet) or dask.is_dask(X):
        raise TypeError("offset goes with arrays in memory; rows of open_rows, rows_from and Dask take none")


def check(model: Any, X: Any, settings: Settings) -> None:
    """Raise ValueError or TypeError for what is not offered with an offset."""
    refuse_elsewhere(X)
    reasons = {
        "an l1_ratio above 0, penalty_weights or group_classes": settings.is_sparse,
        "standardize=True": model.standardize,
        "multi_class='ovr'": model.multi_class == "ovr",
        "solver='liblinear'": model.solver == "liblinear",
        f"device={shown(model.device)}: it is on the CPU alone": model.device != "cpu",
        "checkpoint": model.checkpoint is not None,
    }
    for reason, refused in reasons.items():
        if refused:
            raise ValueError(f"offset does not go with {reason}")


def joined(rows: Rows, offset: Vector) -> Rows:
    """Return a float64 copy of rows (n, d) with the offset as K more features."""
    if isinstance(rows, DeviceArray):
        raise TypeError("offset goes with rows in the host's memory")
    if not isinstance(rows, Csr):
        dense = rows.bits.view(np.float16) if isinstance(rows, Halves) else rows
        return np.concatenate((dense.astype(np.float64), offset), axis=1)
    parts = sparse.to_scipy(rows), scipy.sparse.csr_array(offset)
    wide = scipy.sparse.hstack(parts, format="csr", dtype=np.float64)
    return Csr(wide.data, wide.indices, wide.indptr, (rows.shape[0], rows.shape[1] + offset.shape[1]))


class OffsetFit(Fit):
    """A `Fit` whose rows have an offset (n, K). They are copied to float64, in which all products are."""

    def __init__(
        self, model: Any, rows: Rows, labels: Labels, weight: Vector, settings: Settings, offset: Any
    ) -> None:
        self._offset = checked(offset, len(weight), labels.n_outputs)
        super().__init__(model, rows, labels, weight, settings)

    def start(self, x: Vector, unobserved_classes: NDArray[np.int8]) -> Vector:
        """Return the starting point, from zero with intercepts that cancel the offset's mean.

        Where the mean is large all probabilities would be 0 or 1 at zero, and no Hessian would tell the way.
        """
        if not x.any() and self.objective.fit_intercept:
            mean = (self.data[2] @ self._offset) / self.total_weight
            x = self.objective.pack(np.zeros((self._n_outputs, self.objective.n_features)), -mean)
        return super().start(x, unobserved_classes)

    def _objective_of(self, block: RowBlock, options: Any) -> OffsetObjective:
        target = block.target if block.target.ndim == 1 else block.target.astype(np.float64, copy=False)
        wide = block._replace(X=joined(block.X, self._offset), target=target)
        return OffsetObjective.of_offset_rows(wide, self._n_outputs, **options)

    @property
    def _may_rotate(self) -> bool:
        """False: known logits have no coordinates in the rows' own space."""
        return False

    @property
    def plan(self) -> None:
        """None: kernels are compiled as they are called."""
        return None


def logits(model: Any, X: Any, offset: Any) -> Array:
    """Return the logits of rows in memory with an offset, (n, K), in the dtype of products with X."""
    model._check_is_fitted()
    refuse_elsewhere(X)
    if model._one_vs_rest:
        raise ValueError("offset does not go with multi_class='ovr'")
    z = model._outputs(X, model.coef_.shape[0], lambda device, z: z)
    if not isinstance(z, np.ndarray):
        raise TypeError("offset goes with rows in the host's memory")
    z += checked(offset, *z.shape)
    return z


def labels_of(model: Any, z: Array) -> Array:
    """Return the most probable labels by logits (n, K)."""
    if model._multilabel:
        return (z > 0).astype(np.int64)
    codes = (z[:, 0] > 0).astype(np.intp) if model._is_binary() else z.argmax(axis=1)
    labels: Array = model.classes_[codes]
    return labels


def top_of(model: Any, z: Array, proba: Array, k: int) -> tuple[Array, Array]:
    """Return the k most probable classes of each row and their probabilities, by logits (n, K)."""
    z = np.concatenate((np.zeros_like(z), z), axis=1) if model._is_binary() else z
    order = np.argsort(-z, axis=1, kind="stable")[:, :k]
    return model.classes_[order], np.take_along_axis(proba, order, axis=1)
