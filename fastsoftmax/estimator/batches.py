"""Incremental fits (`partial_fit`) to batches of rows that are each seen once."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fastsoftmax.contracts.wording import shown
from fastsoftmax.data.blocks.row_set import RowSet, as_array
from fastsoftmax.estimator import (
    fitting,
    hyperparameters,
    liblinear,
    progress_line,
    streamed,
    streamed_prediction,
)
from fastsoftmax.estimator import labels as label_reader
from fastsoftmax.estimator.anchored import AnchoredObjective
from fastsoftmax.estimator.fitting import Fit
from fastsoftmax.runtime.read_ahead import read_ahead
from fastsoftmax.runtime.scikit_learn import _fit_context

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from fastsoftmax.contracts import MatrixLike


class BatchFitting:
    """The mixin of SoftmaxRegression with `partial_fit`."""

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self,
        X: MatrixLike | RowSet,
        y: ArrayLike | None = None,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Fit a batch of rows that will not be seen again.

        The first batch is fitted as `fit` does. For later ones, the summed loss of earlier batches is
        replaced by a quadratic around its minimum, with the diagonal of its Hessian there (Laplace's
        approximation [1]_). There is no learning rate, and the scale of the features does not matter.

        Parameters
        ----------
        X : array_like or SciPy sparse, (n, d), or rows of `fastsoftmax.open_rows`
            Of such rows, which bring their labels and weights, each block is a batch, in order.
        y : array_like (n,)
        classes : array_like (K,), optional
            All labels of all batches; required with the first batch, unless `fit` came before it, whose rows
            then count as the first batch. Of rows elsewhere they are by default those of a first reading.
        sample_weight : array_like (n,), optional

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As from `fit`; or if `classes` are missing, or not those of the first batch. With
            `standardize=True`, unless `fit` came before: the penalty is then that of its rows' deviations.
            With `l1_ratio` above 0 or `penalty_weights`: the quadratic is around a minimum at which the loss
            of earlier batches has no gradient, but there it has one, as large as the absolute values allow.

        Warns
        -----
        ConvergenceWarning
            If the tolerance was not reached.

        Notes
        -----
        C is the penalty's inverse strength against the *sum* of all losses, as in `fit`. The coefficients
        depend on how the rows were split into batches and on their order. One pass more than the solver's,
        for the diagonal, and one vector of memory.

        References
        ----------
        .. [1] O. Chapelle, L. Li, "An empirical evaluation of Thompson sampling", NIPS 2011, algorithm 3.
        """
        model: Any = self
        if isinstance(X, RowSet):
            streamed.refuse_labels_beside(y, sample_weight)
            return _to_blocks(model, X, classes)
        with fitting.kept_on_failure(model), progress_line.shown(model.verbose) as line:
            model._validate_params()  # scikit-learn's wrapper does this for the first batch only
            settings = hyperparameters.settle(self)
            if settings.is_sparse:
                hyperparameters.refuse_for_absolutes("partial_fit")
            precision = getattr(model, "_precision", None)
            if precision is None and model.standardize:
                raise ValueError(
                    "standardize=True takes the deviations of all rows, which a first batch does not tell: "
                    "call fit before partial_fit, or scale the features"
                )
            if precision is None and classes is None:
                raise ValueError("classes must be given with the first call of partial_fit")
            known = model.classes_ if precision is not None else np.unique(np.asarray(classes))
            if classes is not None and not np.array_equal(np.sort(known), np.unique(np.asarray(classes))):
                raise ValueError(
                    f"classes must be those of the first batch, {shown(known)}; got {shown(classes)}"
                )
            if model._balances_each():
                two = known if len(known) == 2 else [False, True]
                return model._fit_each(
                    X, y, lambda part, member: part.partial_fit(X, member, two, sample_weight),
                    known=known, goes_on=precision is not None,
                )  # fmt: skip
            rows, y, sample_weight = model._given(X, y, sample_weight, reset=precision is None)
            labels = label_reader.read(y, rows, model.loss, known, multi_class=model.multi_class)
            weight = label_reader.weights(y, sample_weight, model.class_weight)
            liblinear.check_two_classes(model.solver, labels)
            # The quadratic holds the penalty, of the intercept as well with LIBLINEAR's.
            fit = Fit(model, rows, labels, weight, settings._replace(intercept_scaling=None), penalised=False)
            if precision is None:
                precision = fit.ridge(settings)
                centre = np.zeros(fit.objective.n_params)
            else:
                centre = fit.parameters_of(model.coef_, model.intercept_, precision)
            anchored = AnchoredObjective(fit.objective, centre, precision, fit.total_weight)
            solution = model._minimize(hyperparameters.AUTO, anchored, centre, line)
            model._precision = precision + anchored.curvature(solution.x)
            model.__dict__.update(labels.attributes)
            model._keep(solution, fit, hyperparameters.AUTO)
        if not solution.converged:
            model._warn(solution)
        return self


def _to_blocks(model: Any, rows: RowSet, classes: ArrayLike | None) -> Any:
    """Fit each block of rows as a batch, and return the model; if one fails, it stays as it was.

    One reading, and the first one if that is needed: for the classes, for labels that are text which may mean
    numbers, and for how wide svmlight's rows are.
    """
    is_first = getattr(model, "_precision", None) is None
    if not rows.head.has_labels:
        raise ValueError("the rows have no labels: give target= to open_rows, or (X, y) in rows_from")
    if is_first and classes is None:
        classes = rows.classes
    if rows.head.is_text or rows.head.has_float_labels or rows.has_open_width:
        rows.look()
    width = rows.n_features if is_first else model.n_features_in_
    with fitting.kept_on_failure(model):
        if not is_first:
            streamed_prediction.without_names(model, rows)  # raises for other features than the model's
        names = model.__dict__.pop("feature_names_in_", None)  # blocks have none
        if is_first and rows.feature_names is not None:
            names = np.array(rows.feature_names, dtype=object)
        with read_ahead(functools.partial(streamed_prediction.checked, rows, width)) as blocks:
            for block in blocks:
                X, y = as_array(block.X), rows.labels_of(block)
                model.partial_fit(X, y, classes=classes, sample_weight=block.weight)
        if names is not None:
            model.feature_names_in_ = names
    return model
