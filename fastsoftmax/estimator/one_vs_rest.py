"""One against rest with balanced classes: each class has row weights of its own, and so a minimisation.

scikit-learn's `LogisticRegression(multi_class="ovr")`, as long as there was one, took a dictionary of class
weights for those of the labels, and "balanced" for a balance between a class and all others together, as
OneVsRestClassifier does. The first are row weights, and one minimisation finds all K sigmoids; the second are
weights of a row that differ from class to class, which a sum over rows of one weight each does not have.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fastsoftmax.contracts import Record
from fastsoftmax.data import validation
from fastsoftmax.estimator import callbacks as observers
from fastsoftmax.estimator import fitting
from fastsoftmax.estimator import labels as label_reader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike

    from fastsoftmax.contracts import MatrixLike
    from fastsoftmax.estimator.many import ManyFits
    from fastsoftmax.estimator.path import PathPoint


class BalancedClasses:
    """The mixin of SoftmaxRegression for `multi_class="ovr"` with `class_weight="balanced"`."""

    def _balances_each(self) -> bool:
        """Return whether each class is balanced with all others."""
        model: Any = self
        return bool(
            model.multi_class == "ovr"
            and isinstance(model.class_weight, str)  # a dictionary is not compared
            and model.loss == "softmax"
        )

    def _fit_each(
        self,
        X: MatrixLike,
        y: Any,
        fit: Callable[[Any, Any], Any],
        *,
        known: Any = None,
        goes_on: bool = False,
    ) -> Self:
        """Fit the binary model of each class, and set the attributes of all of them together.

        Parameters
        ----------
        X, y : array_like
            As from the user.
        fit : callable
            fit(part, member) fits the binary model of a class to which rows are of it.
        known : ndarray (K,), optional
            The classes; by default those in y.
        goes_on : bool
            Whether each part starts from the coefficients there are, with their precision.
        """
        model: Any = self
        observers.refuse_parts(model.callbacks)
        with fitting.kept_on_failure(model):
            labels, memberships = self._memberships(model, X, y, known, reset=not goes_on)
            parts = [self._part() for _ in memberships]
            if goes_on or (model.warm_start and _continues(model, labels)):
                for k, part in enumerate(parts):
                    part.coef_, part.intercept_ = model.coef_[k : k + 1], model.intercept_[k : k + 1]
                    part.classes_ = np.array([False, True]) if labels.one_vs_rest else labels.classes
            if goes_on:
                precisions = _vectors_of(model._precision, len(parts), model.n_features_in_)
                for part, precision in zip(parts, precisions, strict=True):
                    part._precision = precision
            for part, member in zip(parts, memberships, strict=True):
                fit(part, member)
            first = parts[0]
            model.__dict__.update(
                labels.attributes,
                **_together(parts),
                solver_=first.solver_,
                device_=first.device_,
                kernels_=first.kernels_,
                _float64_products=any(part._float64_products for part in parts),
                _precision=_joined_vectors([part._precision for part in parts], first.n_features_in_),
            )
            model.__dict__.pop("_table", None)  # what a file said of other rows
        return self

    def _path_each(
        self, X: MatrixLike, y: ArrayLike, Cs: ArrayLike, sample_weight: ArrayLike | None
    ) -> list[PathPoint]:
        """Return the points of a path, each of the binary models of all classes."""
        from fastsoftmax.estimator.path import PathPoint

        model: Any = copy.copy(self)
        observers.refuse_parts(model.callbacks)
        _, memberships = self._memberships(model, X, y)
        paths = [self._part().fit_path(X, member, Cs, sample_weight) for member in memberships]
        return [
            PathPoint(C=points[0].C, l1_ratio=points[0].l1_ratio, **_together(points))
            for points in zip(*paths, strict=True)
        ]

    def _many_each(self, X: MatrixLike, y: ArrayLike, weights: ArrayLike, Cs: ArrayLike | None) -> ManyFits:
        """Return many fits, each of the binary models of all classes."""
        from fastsoftmax.estimator.many import ManyFits

        model: Any = copy.copy(self)
        labels, memberships = self._memberships(model, X, y)
        parts = [self._part().fit_many(X, member, weights, Cs=Cs) for member in memberships]
        first = parts[0]
        model.__dict__.update(
            {name: value for name, value in first.model.__dict__.items() if name not in model.get_params()},
            **labels.attributes,
            _precision=None,
        )
        return ManyFits(
            np.concatenate([part.coef_ for part in parts], axis=1),
            np.concatenate([part.intercept_ for part in parts], axis=1),
            np.sum([part.objective_ for part in parts], axis=0),
            np.sum([part.duality_gap_ for part in parts], axis=0),
            np.max([part.n_iter_ for part in parts], axis=0),
            np.all([part.converged_ for part in parts], axis=0),
            first.C,
            model,
        )

    @staticmethod
    def _memberships(
        model: Any, X: MatrixLike, y: ArrayLike, known: Any = None, *, reset: bool = True
    ) -> tuple[Any, list[Any]]:
        """Return the labels, and for each class which rows are of it; for two classes the labels themselves.

        Sets the features' number and names in `model`. Raises ValueError for what does not go with it.
        """
        if model.checkpoint is not None:
            raise ValueError(
                "checkpoint is the state of one minimisation; multi_class='ovr' with class_weight='balanced' "
                "takes one for each class"
            )
        rows, y, _ = model._given(X, y, None, reset=reset)
        label_reader.weights(y, None, model.class_weight)  # refuses a matrix
        labels = label_reader.read(y, rows, model.loss, multi_class=model.multi_class, classes=known)
        if not labels.one_vs_rest:
            return labels, [y]
        return labels, [column == 1 for column in labels.target.T]

    def _part(self) -> Any:
        """Return the binary model of a class, without what was fitted."""
        part: Any = copy.copy(self)
        part.multi_class, part.keep_on_interrupt = "multinomial", False
        for name in ("coef_", "intercept_", "classes_", "feature_names_in_", "_precision"):
            part.__dict__.pop(name, None)
        return part


def _continues(model: Any, labels: Any) -> bool:
    """Return whether the last fit was of these classes, and as many features."""
    coef = getattr(model, "coef_", None)
    if coef is None or coef.shape != (labels.n_outputs, model.n_features_in_):
        return False
    return bool(np.array_equal(model.classes_, labels.classes))


def _together(parts: Sequence[Any]) -> dict[str, Any]:
    """Return the fitted attributes of binary models as those of one: the sum of their problems."""
    gaps = [part.duality_gap_ for part in parts]
    return {
        "coef_": np.concatenate([validation.dense(part.coef_) for part in parts]),
        "intercept_": np.concatenate([part.intercept_ for part in parts]),
        "objective_": sum(part.objective_ for part in parts),
        "duality_gap_": None if None in gaps else sum(gaps),
        "n_iter_": np.max([part.n_iter_ for part in parts], axis=0),
        "history_": _sums([part.history_ for part in parts]),
    }


def _sums(histories: Sequence[Sequence[Record]]) -> list[Record]:
    """Return the records of the sum of some problems: step j of all, or their last ones."""
    joined = []
    for j in range(max(map(len, histories))):
        at = [h[min(j, len(h) - 1)] for h in histories]
        seconds, value, norm, gap, passes, bytes_read = zip(*at, strict=True)
        total = None if None in gap else sum(gap)
        joined.append(
            Record(sum(seconds), sum(value), float(np.linalg.norm(norm)), total, sum(passes), sum(bytes_read))
        )
    return joined


def _vectors_of(joined: Any, n_outputs: int, n_features: int) -> Any:
    """Return the flat parameters of each of some classes, undoing `_joined_vectors`."""
    n_coef = n_outputs * n_features
    return np.hstack((joined[:n_coef].reshape(n_outputs, -1), joined[n_coef:].reshape(n_outputs, -1)))


def _joined_vectors(vectors: Sequence[Any], n_features: int) -> Any:
    """Return flat parameters of K classes from those of each: coefficients, then intercepts if there are."""
    coefs, intercepts = zip(*((v[:n_features], v[n_features:]) for v in vectors), strict=True)
    return np.concatenate((*coefs, *intercepts))
