"""SoftmaxRegressionCV: SoftmaxRegression with C and l1_ratio chosen by cross-validation."""

from __future__ import annotations

import warnings
from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import get_scorer_names
from sklearn.model_selection import check_cv
from sklearn.utils.validation import check_is_fitted

from fastsoftmax import devices
from fastsoftmax.data import dask as dask_rows
from fastsoftmax.data.blocks.row_set import RowSet
from fastsoftmax.estimator import (
    cross_validation_elsewhere,
    cv_grid,
    cv_results,
    fitting,
    folds,
    hyperparameters,
    liblinear,
    progress_line,
    streamed,
)
from fastsoftmax.estimator import labels as label_reader
from fastsoftmax.estimator.cv_routing import Routing
from fastsoftmax.estimator.fold_scores import Scores
from fastsoftmax.estimator.given import GivenRows, of_the_host
from fastsoftmax.estimator.prediction import Prediction
from fastsoftmax.estimator.softmax_regression import SoftmaxRegression
from fastsoftmax.runtime import library
from fastsoftmax.runtime.scikit_learn import (
    Hidden,
    Interval,
    LinearClassifierMixin,
    SparseCoefMixin,
    StrOptions,
    _fit_context,
)

if TYPE_CHECKING:
    import os

    from numpy.typing import ArrayLike

    from fastsoftmax.contracts import MatrixLike, Vector
    from fastsoftmax.estimator.cv_grid import Grid
    from fastsoftmax.estimator.progress_line import ProgressLine

# Parameters of the fits themselves, which SoftmaxRegression has as well.
OF_FITS = (
    "fit_intercept", "class_weight", "solver", "tol", "max_iter", "random_state", "verbose", "device", "loss",
    "multi_class", "dual", "intercept_scaling", "standardize", "penalty_weights", "group_classes",
)  # fmt: skip

FEATURES = "n_features_in_", "feature_names_in_"
# Attributes of the last fit.
FITTED = (
    "coef_", "intercept_", "classes_", "solver_", "device_", "kernels_", "objective_", "duality_gap_",
    "history_", "_multilabel", "_one_vs_rest", "_float64_products",
)  # fmt: skip


class SoftmaxRegressionCV(  # type: ignore[misc]  # `score` takes no rows from files, which bring their labels
    Routing, GivenRows, Prediction, LinearClassifierMixin, SparseCoefMixin, BaseEstimator
):
    """Softmax regression with C and l1_ratio chosen by cross-validation: a drop-in for LogisticRegressionCV.

    All folds, C and l1_ratios are fitted on one copy of X, each fit certified to `tol`, in threads.

    Parameters
    ----------
    Cs : int or list of floats, default 10
        The values of C; a number stands for as many from 1e-4 to 1e4, evenly spaced by their logarithms.
    l1_ratios : array_like of numbers in [0, 1], optional
        The values of `l1_ratio`, each with all C; None is (0,), the squared penalty.
    cv : int, splitter or iterable of (training, held-out) row numbers, optional
        As LogisticRegressionCV has it: five stratified folds by default.
    scoring : str or callable, optional
        scorer(estimator, X, y), or the name of one of scikit-learn's; accuracy by default.
    refit : bool, default True
        Fit all rows with the C and l1_ratio chosen. Otherwise these and the coefficients are means over folds
        of what is best in each.
    selection : {"best", "one_standard_error"}
        The C and l1_ratio of the best mean score; or of each l1_ratio the smallest C whose mean score is at
        most a standard error of the best below that, and of these the one with the fewest coefficients that
        are not zero (with `refit` only).
    fit_intercept, class_weight, solver, tol, max_iter, random_state, verbose, n_threads, device, loss, \
multi_class, standardize, penalty_weights, group_classes
        As SoftmaxRegression has them. Standardised, each fold has the deviations of its training rows, as a
        pipeline with StandardScaler has. "balanced" weights are those of all rows, in every fold, as in
        LogisticRegressionCV; they do not go with "ovr" here.
    n_jobs : int, optional
        The number of threads if `n_threads` is None: −1 and None are all processors.
    penalty, dual, intercept_scaling
        As LogisticRegressionCV has them.
    use_legacy_attributes : bool, default True
        False: the attributes below as scikit-learn 1.10 will have them, in brackets. Like `l1_ratios` and
        `scoring` it takes "warn", the default there, which is the default here with scikit-learn's warning.

    Attributes
    ----------
    C_ : ndarray (K,), or (1,) for two classes [float]
        The C chosen, for each class the same.
    l1_ratio_ : ndarray like `C_`, of None where `l1_ratios` is [float]
    Cs_, l1_ratios_ : ndarrays (m,) and (r,)
    scores_ : dict of a class to an ndarray (folds, m, r) [ndarray (folds, r, m)]
        Without the axis of l1_ratios, here and below, in dicts and `n_iter_` where `l1_ratios` is None.
    coefs_paths_ : dict of a class to an ndarray (folds, m, r, d + 1) [ndarray (folds, r, m, K, d + 1)]
        The coefficients of each fit, and its intercept if there is one.
    n_iter_ : ndarray (1, folds, m, r) [(folds, r, m)], int32
    coef_, intercept_, classes_, n_features_in_, feature_names_in_, solver_, device_, kernels_
        As SoftmaxRegression has them.
    objective_, duality_gap_, history_
        Of the last fit, on all rows; None, None and empty without `refit`. `solver_` is then what ran for the
        models that were averaged, joined by " and " where not all ran the same.
    best_estimator_ : SoftmaxRegression
        The model with these coefficients, C and l1_ratio: what `save` writes.

    Raises
    ------
    ValueError
        From `fit`: as from SoftmaxRegression; for `l1_ratios` beyond [0, 1]; for C that are not positive.

    Notes
    -----
    From the strongest penalty to the weakest, each fit starts at the optimum before. The folds of small
    problems are row weights, and minimised side by side, one reading of dense X for all; of larger ones each
    fold's rows are copied up to 64 MiB, and have a weight of zero beyond. Held-out logits are float64, and
    computed once for all fits of a fold. With absolute values in the penalty each fold and l1_ratio is
    minimised by itself, some at a time.

    Rows that are not in memory (Dask's, and those of `open_rows` and `rows_from` beyond its `memory`) stay
    where they are, and folds are weights there: `cv` is then a number of folds, stratified and drawn by the
    rows' places, and `scoring` None, "accuracy" or "neg_log_loss".

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastsoftmax import SoftmaxRegressionCV
    >>> X, y = load_iris(return_X_y=True)
    >>> model = SoftmaxRegressionCV(scoring="neg_log_loss", use_legacy_attributes=False).fit(X, y)
    >>> model.scores_.shape
    (5, 1, 10)
    >>> bool(model.duality_gap_ <= 1e-6 * model.objective_)
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **{name: hyperparameters.CONSTRAINTS[name] for name in (*OF_FITS, "n_threads", "n_jobs")},
        "Cs": [Interval(Integral, 1, None, closed="left"), "array-like"],
        "l1_ratios": ["array-like", None, Hidden(StrOptions({cv_grid.WARN}))],
        "cv": ["cv_object"],
        "scoring": [StrOptions({*get_scorer_names()}), callable, None, Hidden(StrOptions({cv_grid.WARN}))],
        "refit": ["boolean"],
        "penalty": [StrOptions({"l1", "l2", "elasticnet"}), Hidden(StrOptions({"deprecated"}))],
        "use_legacy_attributes": ["boolean", Hidden(StrOptions({cv_grid.WARN}))],
        "selection": [StrOptions({"best", "one_standard_error"})],
    }

    warns_of_none: ClassVar[bool] = False  # for `l1_ratios`, as scikit-learn 1.9 does

    def __init__(
        self,
        *,
        Cs: int | ArrayLike = 10,
        l1_ratios: ArrayLike | str | None = None,
        fit_intercept: bool = True,
        cv: Any = None,
        dual: bool = False,
        penalty: str = "deprecated",
        scoring: Any = None,
        solver: str = "auto",
        tol: float = 1e-6,
        max_iter: int = 1000,
        class_weight: dict[Any, float] | str | None = None,
        n_jobs: int | None = None,
        verbose: int = 0,
        refit: bool = True,
        intercept_scaling: float = 1.0,
        random_state: Any = None,
        use_legacy_attributes: bool | str = True,
        selection: str = "best",
        n_threads: int | None = None,
        device: str = "cpu",
        loss: str = "softmax",
        multi_class: str = "multinomial",
        standardize: bool = False,
        penalty_weights: ArrayLike | None = None,
        group_classes: bool = False,
    ) -> None:
        self.Cs = Cs
        self.l1_ratios = l1_ratios
        self.fit_intercept = fit_intercept
        self.cv = cv
        self.dual = dual
        self.penalty = penalty
        self.scoring = scoring
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.class_weight = class_weight
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.refit = refit
        self.intercept_scaling = intercept_scaling
        self.random_state = random_state
        self.use_legacy_attributes = use_legacy_attributes
        self.selection = selection
        self.n_threads = n_threads
        self.device = device
        self.loss = loss
        self.multi_class = multi_class
        self.standardize = standardize
        self.penalty_weights = penalty_weights
        self.group_classes = group_classes

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        of_fits = self._fits_by(1.0).__sklearn_tags__()
        tags.input_tags, tags.target_tags = of_fits.input_tags, of_fits.target_tags
        tags.classifier_tags = of_fits.classifier_tags
        return tags

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None, **params: Any) -> Self:
        """Choose C and l1_ratio by cross-validation, and fit the model with them.

        Parameters
        ----------
        X : array_like or SciPy sparse, (n, d), of Dask, or a RowSet of `open_rows` or `rows_from`
            In host memory, or elsewhere: see Notes.
        y : array_like, (n,) labels, or as SoftmaxRegression takes it where `scoring` does
            Of a RowSet None.
        sample_weight : array_like (n,), optional
            Weights of the fits and, unless metadata are routed, of the scores.
        **params
            For the splitter and the scorer; with scikit-learn's metadata routing only.

        Returns
        -------
        self

        Warns
        -----
        ConvergenceWarning
            Once, if some fits did not reach the tolerance; the message gives their number.
        """
        X, y, sample_weight = dask_rows.taken(X, y, sample_weight)
        elsewhere = isinstance(X, RowSet)
        if elsewhere:
            streamed.refuse_labels_beside(y, sample_weight)
            X.look()
            if (whole := X.whole()) is not None:
                X.classes  # noqa: B018  (raises if there are no labels)
                X, y, sample_weight = whole
                elsewhere = False
        if not elsewhere:
            X, y, sample_weight = of_the_host(X, y, sample_weight)
        split_params, score_params = self._routed("fit", params, sample_weight)
        grid = cv_grid.of(self)
        if self.selection != "best" and not self.refit:
            raise ValueError(
                "selection='one_standard_error' chooses one C for all folds: it takes refit=True"
            )
        with fitting.kept_on_failure(self), progress_line.shown(self.verbose) as line:
            if elsewhere:
                problem, fits, scores = self._elsewhere(grid, X, line)
            else:
                problem, fits, scores = self._in_memory(
                    grid, X, y, sample_weight, split_params, score_params, line
                )
            self._keep(problem, fits, scores, grid, X, y, sample_weight)
        return self._warned(fits)

    def _elsewhere(
        self, grid: Grid, rows: RowSet, line: ProgressLine | None
    ) -> tuple[folds.Problem, folds.FoldFits, Vector]:
        """Return the problem, the fits and their scores (folds, r, m) of rows that are not in memory."""
        strongest = min(grid.Cs.tolist())  # an infinite C has no absolute values
        models = [self._fits_by(strongest, ratio) for ratio in grid.l1_ratios.tolist()]
        model, settings = models[0], [hyperparameters.settle(each) for each in models]
        labels, fits, scores = cross_validation_elsewhere.fitted(
            models, rows, grid.Cs.tolist(), self.cv, self._scoring, settings, line
        )
        self.__dict__.update({name: model.__dict__[name] for name in FEATURES if name in model.__dict__})
        places: Any = rows  # of attributes: the refit reads them again
        problem = folds.Problem(model, places, labels, np.empty(0), settings[0], np.empty(0))
        return problem, fits, scores

    def _in_memory(
        self, grid: Grid, X: Any, y: Any, sample_weight: Any, split_params: dict[str, Any],
        score_params: dict[str, Any], line: ProgressLine | None,
    ) -> tuple[folds.Problem, folds.FoldFits, Vector]:  # fmt: skip
        """Return the problem, the fits and their scores (folds, r, m) of rows in memory."""
        problems = self._problems(grid, X, y, sample_weight)
        problem = problems[0]
        splits = list(check_cv(self.cv, y, classifier=True).split(X, y, **split_params))
        rows_of = np.arange(problem.rows.shape[0])  # by numbers of any kind, or a mask
        training, held_out = ([rows_of[split[part]] for split in splits] for part in (0, 1))
        for i, places in enumerate(training):
            if not problem.weight[places].any():
                raise ValueError(f"the training set of fold {i} has no row of positive weight")
        fits = folds.fit_all(problems, training, grid.Cs.tolist(), line)
        scoring = Scores(problem, X, y, self._scoring, score_params)
        scores = np.array([
            scoring.of(folds.flat(folds.part(fits, i)), places, grid.points)
            for i, places in enumerate(held_out)
        ]).reshape(fits.n_iter.shape)  # fmt: skip
        return problem, fits, scores

    def _warned(self, fits: folds.FoldFits) -> Self:
        """Return self, and warn of fits that did not converge."""
        if not fits.converged.all():
            short = np.count_nonzero(~fits.converged)
            warnings.warn(
                f"{short} of {fits.converged.size} fits failed to converge. Increase the number of "
                "iterations (max_iter), scale the data, or raise tol.",
                ConvergenceWarning,
                stacklevel=4,
            )
        return self

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `best_estimator_` to a file: `SoftmaxRegression.save`. `fastsoftmax.load` reads it."""
        check_is_fitted(self)
        self.best_estimator_.save(path)

    def _fits_by(self, C: float, l1_ratio: float = 0.0) -> SoftmaxRegression:
        """Return the classifier of the fits."""
        threads = self.n_threads
        if threads is None and self.n_jobs is not None and self.n_jobs > 0:
            threads = self.n_jobs
        of_fits = {name: getattr(self, name) for name in OF_FITS}
        return SoftmaxRegression(C=C, l1_ratio=l1_ratio, n_threads=threads, **of_fits)

    def _problems(self, grid: Grid, X: Any, y: Any, sample_weight: Any) -> list[folds.Problem]:
        """Return validated rows, labels and weights with the settings of each l1_ratio.

        Notes the features in their models as well.
        """
        strongest = min(grid.Cs.tolist())  # an infinite C has no absolute values
        models = [self._fits_by(strongest, ratio) for ratio in grid.l1_ratios.tolist()]
        model = models[0]
        settings = [hyperparameters.settle(each) for each in models]
        if model._balances_each():
            raise ValueError(
                "class_weight='balanced' does not go with multi_class='ovr' here: each class would have row "
                "weights of its own; use sample_weight, or a dictionary of weights"
            )
        if devices.elsewhere(X) is not None:
            raise TypeError("X must be in host memory for SoftmaxRegressionCV; device='cuda' copies it")
        rows, y, sample_weight = self._given(X, y, sample_weight, reset=True)
        labels = label_reader.read(y, rows, self.loss, multi_class=self.multi_class)
        liblinear.check_two_classes(self.solver, labels)
        weight = label_reader.weights(y, sample_weight, self.class_weight)
        given = label_reader.weights(y, sample_weight, None)
        for each in models:
            each.__dict__.update({name: self.__dict__[name] for name in FEATURES if name in self.__dict__})
        return [
            folds.Problem(each, rows, labels, weight, settled, given)
            for each, settled in zip(models, settings, strict=True)
        ]

    def _keep(
        self, problem: folds.Problem, fits: folds.FoldFits, scores: Vector, grid: Grid,
        X: MatrixLike, y: ArrayLike, sample_weight: ArrayLike | None,
    ) -> None:  # fmt: skip
        """Set the fitted attributes, after the fit of all rows."""
        labels = problem.labels
        if self.refit:
            n_nonzero = np.count_nonzero(fits.coef, axis=(3, 4)).mean(axis=0)
            i, j = cv_results.chosen(scores, grid, self.selection, n_nonzero)
            C, l1_ratio = float(grid.Cs[j]), float(grid.l1_ratios[i])
            coef, intercept = fits.coef[:, i, j].mean(axis=0), fits.intercept[:, i, j].mean(axis=0)
        else:
            C, l1_ratio, coef, intercept, ran = cv_results.averages(fits, scores, grid)
        model = self._fits_by(C, l1_ratio)
        model.__dict__.update(
            labels.attributes,
            coef_=coef,
            intercept_=intercept,
            **{name: self.__dict__[name] for name in FEATURES if name in self.__dict__},
        )
        if self.refit:
            model.warm_start = True
            model.fit(X, y, sample_weight)
            model.warm_start = False
        else:
            model.__dict__.update(
                n_iter_=np.array([fits.n_iter.max()], np.int32),
                objective_=None, duality_gap_=None, history_=[], solver_=ran,
                kernels_=library.identity(), _float64_products=False,
                device_=devices.settled(self.device, problem.rows, labels.n_outputs),
            )  # fmt: skip
        layout = cv_results.legacy_attributes if self.use_legacy_attributes else cv_results.attributes
        self.__dict__.update(
            {name: model.__dict__[name] for name in FITTED},
            **layout(problem, fits, scores, grid, C, l1_ratio, refit=self.refit),
            Cs_=grid.Cs,
            l1_ratios_=grid.given,
            best_estimator_=model,
        )
