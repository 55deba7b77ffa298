"""A fit to rows that are not in memory: what of them is known, and the objective of their source."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import compute_class_weight

from fastsoftmax import devices, losses
from fastsoftmax.contracts import RowBlock
from fastsoftmax.contracts.wording import shown
from fastsoftmax.data import statistics
from fastsoftmax.data.blocks.block import Block
from fastsoftmax.data.blocks.row_set import RowSet
from fastsoftmax.data.blocks.targets import Targets
from fastsoftmax.estimator.fitting import Fit
from fastsoftmax.estimator.labels import Labels
from fastsoftmax.estimator.progress_line import ProgressLine
from fastsoftmax.estimator.streamed_sparse import StreamedSparseFit
from fastsoftmax.objective.few_readings import FewReadings
from fastsoftmax.objective.wide_readings import WideReadings
from fastsoftmax.penalties.squared_norm import SquaredNorm
from fastsoftmax.runtime.buffers import BufferPool
from fastsoftmax.sources.dear import source_of
from fastsoftmax.sources.scaled import ScaledSource

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastsoftmax.contracts import Vector
    from fastsoftmax.data.blocks.look import Look
    from fastsoftmax.estimator.hyperparameters import Settings


def prepared(
    model: Any, rows: RowSet, y: object, sample_weight: object, settings: Settings
) -> tuple[Fit, Labels]:
    """Return the fit and the labels of rows elsewhere; the first reading is made, if it has not been.

    Rows that are few enough are taken as arrays: their fit is that of arrays, to the bit.

    Raises
    ------
    ValueError
        y or sample_weight are given, or an option does not go with such rows.
    """
    refuse_labels_beside(y, sample_weight)
    line = ProgressLine() if model.verbose else None
    look = rows.look(None if line is None else line.reading, with_moments=model.standardize)
    if line is not None:
        line.end()
    whole = rows.whole()
    if whole is not None:
        rows.classes  # noqa: B018  (raises if there are no labels)
        X, given, weight = whole
        made: tuple[Fit, Labels] = model._prepared(X, given, weight, settings)
        _keep_names(model, rows)
        return made
    if settings.intercept_scaling is not None:
        raise ValueError("solver='liblinear' takes rows in memory; solver='auto' leaves the intercept free")
    if model.device == "cuda":
        raise ValueError("rows from files are computed on by the CPU: give device='cpu'")
    targets = _targets(model, rows)
    labels = _labels(look, targets)
    _keep_names(model, rows)
    model.n_features_in_ = rows.n_features
    return fit_of(model, rows, targets, labels, settings), labels


def fit_of(model: Any, rows: RowSet, targets: Targets, labels: Labels, settings: Settings) -> Fit:
    """Return the fit by the kind of its penalty."""
    if settings.is_sparse:
        weight = _weights(rows.look(), targets)
        return StreamedSparseFit(model, rows, targets, labels, weight, settings)
    return StreamedFit(model, rows, targets, labels, settings)


def refuse_labels_beside(y: object, sample_weight: object) -> None:
    """Raise ValueError if labels or weights are given beside rows that bring them."""
    for name, given in (("y", y), ("sample_weight", sample_weight)):
        if given is not None:
            other = {"y": "target"}.get(name, name)
            raise ValueError(f"{name} is part of the rows: give {other}= to open_rows, not {name} to fit")


def arrays_of(X: Any, y: Any, sample_weight: Any) -> tuple[Any, Any, Any]:
    """Return arguments for a minimisation for each class: arrays as they are, rows elsewhere as arrays.

    Raises ValueError if these are too many to be kept: K minimisations are K times the readings.
    """
    if not isinstance(X, RowSet):
        return X, y, sample_weight
    refuse_labels_beside(y, sample_weight)
    X.classes  # noqa: B018  (raises if there are no labels)
    whole = X.whole()
    if whole is None:
        raise ValueError(
            "multi_class='ovr' with class_weight='balanced' is a minimisation for each class, and takes rows "
            "in memory; without class_weight, or with a dictionary, the classes share their readings"
        )
    return whole


class StreamedFit(Fit):
    """The objective of a SoftmaxRegression on rows elsewhere, and its map to fitted parameters.

    Parameters
    ----------
    model : SoftmaxRegression
    rows : RowSet
    targets : Targets
    labels : Labels
        Of each class once, as `_labels` returns them.
    settings : Settings
    """

    def __init__(
        self, model: Any, rows: RowSet, targets: Targets, labels: Labels, settings: Settings
    ) -> None:
        look = rows.look()
        self._penalised, self._tol = True, model.tol
        self._standardise_by(
            rows.moments().features(centred=model.fit_intercept) if model.standardize else None
        )
        self.float64_products = False
        self._scaling = self._space = None
        self._n_outputs = targets.n_outputs
        self._family = losses.family(targets.loss)
        self._dtype = np.float32 if look.head.dtype == np.float32 else np.float64
        self.device = "cpu"
        loss = self._family.for_targets(labels.target, targets.n_outputs)
        buffers = BufferPool()
        source = source_of(rows, targets, loss, model.n_threads, buffers)
        self.total_weight = source.spec.weight
        self.loss, self._source, self.targets = loss, source, targets
        self.data: Any = rows, labels, _weights(look, targets)
        is_wide = self.scale is None and WideReadings.serves(source)
        kind = WideReadings if is_wide else FewReadings
        self._on_features: Any = kind(
            source if self.scale is None else ScaledSource(source, self.scale),
            loss,
            penalty=SquaredNorm().with_strength(1.0 / (settings.C * self.total_weight)),
            fit_intercept=model.fit_intercept,
            n_threads=model.n_threads,
            buffers=buffers,
        )
        if is_wide:  # its products are float64 in any case
            self._on_features = self._on_features.in_float64() or self._on_features
        self.objective: Any = self._centred(self._on_features)
        centre = statistics.centre_of(look.sample.X) if self.objective.fit_intercept else None
        if centre is not None:
            self._centre_at(centre)
        if self.objective.is_float32:
            self.objective = self.objective.storing(self._dtype)
        too_large = settings.solver == "newton-cholesky" and not self.objective.has_explicit_hessian
        self.solver = "newton-cg" if too_large else settings.solver
        if settings.solver == "lbfgs":
            self.solver = "lbfgs" if is_wide else "sampled-newton"

    def precision_at(self, x: Vector) -> Vector:
        """Return an estimate of the diagonal of the Hessian of Σ wᵢ ℓᵢ + ‖coef‖² / (2 C), (n_params,).

        From the sample that is in memory: no reading.
        """
        sampled = self._on_features.with_l2(self.objective.l2).sampled
        diagonal: Vector = sampled.diagonal(sampled.pack(*self._on_rows(x))) * self.total_weight
        return self._in_feature_units(diagonal)

    def start(self, x: Vector, unobserved_classes: NDArray[np.int8]) -> Vector:
        """Return the starting point: that of a warm start, or from the sample in memory. One reading."""
        return super().start(x if x.any() else self.objective.start(), unobserved_classes)

    def _usual_plan(self) -> list[tuple[str, str, str]]:
        sample = self.data[0].look().sample.as_block().part(0, self._source.n_pooled)
        target, weight = self.targets.of(sample)
        return devices.host().fit_plan(self.loss, RowBlock(sample.X, target, weight))


def _targets(model: Any, rows: RowSet) -> Targets:
    """Return the targets that the estimator makes of labels: two classes are one logit with a sigmoid."""
    look, classes = rows.look(), rows.classes
    dtype = look.dtype
    if look.n_columns is not None:
        if model.class_weight is not None:
            raise ValueError(
                "class_weight goes with labels (n,); weigh the rows of a matrix by sample_weight"
            )
        binary = model.loss == "softmax" and len(classes) == 2
        separate = model.loss == "softmax" and model.multi_class == "ovr" and not binary
        n_outputs = 1 if binary else len(classes)
        loss = "sigmoid" if binary or separate else model.loss
        return Targets(classes, n_outputs, loss, True, dtype, one_vs_rest=separate)
    if len(classes) < 2:
        raise ValueError(
            "SoftmaxRegression needs samples of at least 2 classes in the data, but the data contains only "
            f"one class: {shown(classes[0])}"
        )
    if len(classes) > 2 and model.loss == "sigmoid":
        raise ValueError("loss='sigmoid' takes two classes, or a matrix (n, K) of labels in [0, 1]")
    by_class = _class_weights(model.class_weight, look)
    if len(classes) == 2:
        return Targets(classes, 1, "sigmoid", False, dtype, by_class)
    separate = model.multi_class == "ovr"
    loss = "sigmoid" if separate else "softmax"
    return Targets(classes, len(classes), loss, False, dtype, by_class, one_vs_rest=separate)


def _class_weights(class_weight: Any, look: Look) -> Vector | None:
    """Return the factor of the weight of each class's rows, as scikit-learn defines it; None for ones."""
    if class_weight is None or look.learnt is None:
        return None
    classes, weight = look.learnt.classes, look.learnt.weight
    if isinstance(class_weight, str):
        with np.errstate(divide="ignore"):
            balanced: Vector = np.where(weight > 0, weight.sum() / (len(weight) * weight), 1.0)
        return balanced
    factors: Vector = compute_class_weight(class_weight, classes=classes, y=classes).astype(np.float64)
    return factors


def _labels(look: Look, targets: Targets) -> Labels:
    """Return each class once: what a fit asks of labels beside sums over rows, it can learn from these.

    Of a matrix of labels they are two rows, the least and the greatest number of each column.
    """
    if targets.is_matrix:
        assert look.column_range is not None
        range_ = look.column_range.astype(targets.dtype)
        target = range_ if targets.n_outputs > 1 else range_[:, 1:]
    else:
        once = Block(np.empty((len(targets.classes), 0)), targets.classes, None, "classes", 0)
        target = replace(targets, by_class=None).of(once)[0]
    return Labels(targets.classes, target, targets.loss, targets.n_outputs, targets.one_vs_rest)


def _weights(look: Look, targets: Targets) -> Vector:
    """Return the summed weights of the rows of `_labels`."""
    if look.learnt is None:
        return np.ones(2)
    return look.learnt.weight if targets.by_class is None else look.learnt.weight * targets.by_class


def _keep_names(model: Any, rows: RowSet) -> None:
    """Set the names of the features."""
    if rows.feature_names is None:
        model.__dict__.pop("feature_names_in_", None)
    else:
        model.feature_names_in_ = np.array(rows.feature_names, dtype=object)
