"""The fit of a SoftmaxRegression whose penalty has absolute values to rows that are not in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax import losses
from fastsoftmax.data import statistics
from fastsoftmax.estimator.sparse_fitting import SparseFit, penalty_weights
from fastsoftmax.objective.few_readings import FewReadings
from fastsoftmax.objective.sparse_readings import SparseReadings
from fastsoftmax.penalties.elastic_net import ElasticNet
from fastsoftmax.runtime.buffers import BufferPool
from fastsoftmax.sources.dear import source_of
from fastsoftmax.sources.scaled import ScaledSource

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastsoftmax.contracts import Vector
    from fastsoftmax.data.blocks.row_set import RowSet
    from fastsoftmax.data.blocks.targets import Targets
    from fastsoftmax.estimator.hyperparameters import Settings
    from fastsoftmax.estimator.labels import Labels

SOLVER = "sampled-proximal"


class StreamedSparseFit(SparseFit):
    """The objective with absolute values on rows elsewhere, and its map to fitted parameters.

    Parameters
    ----------
    model : SoftmaxRegression
    rows : RowSet
    targets : Targets
    labels : Labels
        Of each class once.
    weight : ndarray
        The summed weights of the rows of `labels`.
    settings : Settings
    """

    def __init__(
        self, model: Any, rows: RowSet, targets: Targets, labels: Labels, weight: Vector, settings: Settings
    ) -> None:
        look = rows.look()
        features = rows.moments().features(centred=model.fit_intercept) if model.standardize else None
        self._standardise_by(features)
        self._penalised, self._tol, self._space = True, model.tol, None
        self.float64_products, self._scaling = False, None
        self._n_outputs, self._family = targets.n_outputs, losses.family(targets.loss)
        self._dtype = np.float32 if look.head.dtype == np.float32 else np.float64
        self.device, self.solver = "cpu", SOLVER
        the_loss = self._family.for_targets(labels.target, targets.n_outputs)
        buffers = BufferPool()
        source: Any = source_of(rows, targets, the_loss, model.n_threads, buffers)
        self.total_weight = source.spec.weight
        self.data: Any = rows, labels, weight
        options: Any = {"fit_intercept": model.fit_intercept, "n_threads": model.n_threads}
        loss: Any = FewReadings(
            source if self.scale is None else ScaledSource(source, self.scale),
            the_loss,
            buffers=buffers,
            **options,
        )
        loss = self._centred(loss.in_float64() or loss)
        centre = statistics.centre_of(look.sample.X) if model.fit_intercept and features is None else None
        if centre is not None:
            loss = loss.centred(centre)
            if statistics.needs_float64(centre):
                self._dtype = np.float64
        weights = penalty_weights(
            model.penalty_weights, targets.n_outputs, rows.n_features, model.group_classes
        )
        strength = 1.0 / (settings.C * self.total_weight)
        self.objective: Any = SparseReadings(
            loss,
            ElasticNet(strength, settings.l1_ratio, weights, bool(model.group_classes)),
            features=features,
            options={**options, "loss": targets.loss, "device": "cpu"},
        )

    def start(self, x: Vector, unobserved_classes: NDArray[np.int8]) -> Vector:
        """Return the starting point: that of a warm start, or from the sample in memory. One reading."""
        return super().start(x if x.any() else self.objective.start(), unobserved_classes)

    def precision_at(self, x: Vector) -> Vector:
        """Return the diagonal of the Hessian of the smooth part times Σ w, (n_params,). No reading."""
        return self._in_feature_units(self.objective.diagonal_of_last(x) * self.total_weight)

    def _value_as_stored(self, solution: Any, x: Vector) -> float:
        """Return F at the solution's parameters as they are stored, by the sample. No reading."""
        value: float = self.objective.value_as_stored(solution.x, x, solution.value, solution.grad)
        return value
