"""SoftmaxRegression: scikit-learn's contract around the objective and the solvers."""

from __future__ import annotations

import importlib.util
import warnings
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model._base import LinearClassifierMixin, SparseCoefMixin
from sklearn.utils.validation import validate_data

from fastsoftmax import checkpoints, devices, fitting, liblinear, observers, parameters, validation
from fastsoftmax import labels as label_reader
from fastsoftmax.fitting import Fit
from fastsoftmax.online import AnchoredObjective
from fastsoftmax.prediction import Prediction
from fastsoftmax.regularization_path import RegularizationPath
from fastsoftmax.saved import Persistence

HAS_CALLBACKS = importlib.util.find_spec("sklearn.callback") is not None  # scikit-learn from 1.9 on
if HAS_CALLBACKS:
    from sklearn.callback import CallbackSupportMixin
else:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing: there are no callbacks to support."""


if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from fastsoftmax.contracts import Rows, Solution, Vector
    from fastsoftmax.labels import Labels
    from fastsoftmax.parameters import Settings
    from fastsoftmax.protocols import Checkpoint, Objective


class SoftmaxRegression(
    CallbackSupportMixin,
    Prediction,
    RegularizationPath,
    Persistence,
    LinearClassifierMixin,
    SparseCoefMixin,
    BaseEstimator,
):
    """Multinomial logistic regression that says how close it came: a drop-in for LogisticRegression.

    Minimises F(W, b) = Σᵢ wᵢ ℓᵢ / Σᵢ wᵢ + (l2 / 2) ‖W‖² with l2 = 1 / (C Σ w), in nats: scikit-learn's
    objective divided by C Σ w, so the optimum is the same. Two classes are scikit-learn's binary model:
    one row of coefficients, for the second class.

    Parameters
    ----------
    C : float, default 1.0
        Inverse strength of the penalty; `inf` means none.
    l1_ratio : float, default 0.0
        Only 0.0: the penalty is the squared norm. None is 0.0, with scikit-learn's deprecation warning.
    fit_intercept : bool, default True
    class_weight : dict or "balanced", optional
        Weights of the classes, multiplied into the sample weights. For labels, not for probabilities.
    solver : {"auto", "lbfgs", "newton-cg", "newton-cholesky", "sag", "saga", "liblinear"}
        "auto" is "lbfgs" in this version. What is not here by that name runs another solver to the same
        optimum, and `solver_` says which: "newton-cholesky" runs "newton-cg" where K (d + 1) is above 2,048;
        "sag", "saga" and "liblinear" run "auto". With "liblinear" the intercept is the coefficient of a
        feature of the value `intercept_scaling`, penalised with the others; two classes only; X is copied.
    tol : float, default 1e-6
        Stop when (F − F*) / max(F, tiny) is certified (duality gap, for finite C) or estimated (Newton
        decrement, for C = inf) to be at most this: one meaning for every solver.
    max_iter : int, default 1000
        The most steps of the solver.
    warm_start : bool, default False
        Start from the coefficients of the last fit where their shape fits.
    random_state : int, RandomState or None
        Not used: fits are deterministic. Kept so that programs written for LogisticRegression run.
    verbose : int, default 0
        1 says on standard error how far it is: one live line on a terminal, a line a step elsewhere.
    n_threads : int, optional
        None takes every processor the process may use. The result does not depend on it.
    device : {"cpu", "cuda", "auto"}
        Where passes over X are computed: "cuda" is an NVIDIA GPU (the extra `cuda`), or DeviceUnavailable
        with the reason; "auto" is "cuda" where there is one and X is large enough for it
        (`fastsoftmax.devices.settled`). The solver's own vectors stay on the host.
    callbacks : sequence of callables, optional
        Each is called with the `Record` of every step. scikit-learn's own callbacks (1.9) go to
        `set_callbacks`; every solver reports to them.
    loss : {"softmax", "sigmoid"}
        "sigmoid" with y (n, K) of labels in [0, 1] that do not exclude each other is the multi-label model.
    checkpoint : str or path-like, optional
        A file into which `fit` writes where it stands, every 10 seconds and with at most a twentieth of its
        time; deleted when the fit has ended. After a kill, the same fit goes on from it to the same bits
        (same machine and libraries). One of another fit is a ValueError. X is read once more, for a digest.
    penalty, dual, intercept_scaling, n_jobs
        As scikit-learn 1.9 has them, for programs that pass them: `penalty` is deprecated there (use
        `l1_ratio` and C), `dual=True` and `intercept_scaling` go with solver "liblinear" (the optimum of
        the dual is the same), `n_jobs` has no effect and says so.

    Attributes
    ----------
    coef_ : ndarray (K, d), or (1, d) for two classes
        float32 where X is (or float16, and the solver is not "liblinear"), float64 otherwise. CSR after
        `sparsify`.
    intercept_ : ndarray (K,) or (1,)
    classes_ : ndarray (K,)
        The labels in sorted order; 0 … K − 1 for probability and multi-label targets.
    n_features_in_ : int
    feature_names_in_ : ndarray (d,), where X had names that are all strings
    n_iter_ : ndarray (1,), int32
        Steps of the solver, at most `max_iter`.
    solver_ : str
        The solver that ran; "lbfgs on cuda" and the like where passes were computed on a GPU.
    device_ : {"cpu", "cuda"}
        Where passes over X were computed.
    objective_ : float
        F at the solution, in nats.
    duality_gap_ : float or None
        An upper bound of F − F*, in nats; None for C = inf.
    history_ : list of Record
        (seconds, objective, grad_norm, gap, passes) at the start and after every step.

    Raises
    ------
    ValueError
        From `fit`: shapes that disagree, NaN or infinity in X, one class only, options out of range. A fit
        that fails leaves an earlier one as it was.

    Notes
    -----
    float16, float32, float64, uint8, int8 and int16 X are read as they are: nothing is copied or widened as a
    whole. Products are float32 for float32 and narrower X; sums, gradients and parameters are float64.

    Dense X with at least twice as many features as rows, and 48 MiB as float64 at most, is factored once: the
    solver sees the rows' coordinates in the space that they span, n of them and in float64. The optimum is
    the same; the passes of `history_` are then passes over those.

    A class whose rows all weigh zero stays in `classes_`, as in LogisticRegression, and is never predicted: a
    free intercept has its optimum at −∞ there and is put 1000 below the others', for a probability of 0. So
    is that of a label which no row has; that of one which all rows have, with "sigmoid", 1000 above.

    References
    ----------
    .. [1] C. M. Bishop, "Pattern Recognition and Machine Learning", Springer, 2006, sec. 4.3.4.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastsoftmax import SoftmaxRegression
    >>> X, y = load_iris(return_X_y=True)
    >>> model = SoftmaxRegression().fit(X, y)
    >>> round(model.score(X, y), 2)
    0.97
    >>> bool(model.duality_gap_ <= 1e-6 * model.objective_)
    True
    """

    _parameter_constraints = parameters.CONSTRAINTS

    def __init__(
        self,
        *,
        C: float = 1.0,
        l1_ratio: float = 0.0,
        fit_intercept: bool = True,
        class_weight: dict[Any, float] | str | None = None,
        solver: str = "auto",
        tol: float = 1e-6,
        max_iter: int = 1000,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: int = 0,
        n_threads: int | None = None,
        device: str = "cpu",
        callbacks: Sequence[Any] | None = None,
        loss: str = "softmax",
        checkpoint: str | os.PathLike[str] | None = None,
        penalty: str | None = "deprecated",
        dual: bool = False,
        intercept_scaling: float = 1,
        n_jobs: int | None = None,
    ) -> None:
        self.C = C
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self.n_threads = n_threads
        self.device = device
        self.callbacks = callbacks
        self.loss = loss
        self.checkpoint = checkpoint
        self.penalty = penalty
        self.dual = dual
        self.intercept_scaling = intercept_scaling
        self.n_jobs = n_jobs

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.classifier_tags.multi_label = tags.target_tags.multi_output = self.loss == "sigmoid"
        tags.classifier_tags.multi_class = self.loss == "softmax" and self.solver != "liblinear"
        return tags

    # --- fitting --------------------------------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the model to rows X and labels y.

        Parameters
        ----------
        X : array_like or SciPy sparse, (n, d), or an array on a GPU
            CuPy's, PyTorch's and others' arrays are read on the GPU as they lie; `device` must not be "cpu".
        y : array_like, (n,) labels, or (n, K) probabilities (multi-label: labels in [0, 1])
        sample_weight : array_like (n,), optional
            Not negative. A row of weight zero is as if it were not there.

        Returns
        -------
        self

        Warns
        -----
        ConvergenceWarning
            If the tolerance was not reached; says how far it is and what to change.
        """
        # Before the state is kept: scikit-learn's wrapper takes down what this puts into it.
        root = self._init_callback_context(max_subtasks=self.max_iter + 1) if HAS_CALLBACKS else None
        with fitting.kept_on_failure(self):
            settings = parameters.settle(self)
            fit, labels = self._prepared(X, y, sample_weight, settings)
            start = self._start(fit, labels)
            checkpoint = None
            if self.checkpoint is not None:
                problem = checkpoints.problem_of(self, settings, fit.device, *fit.given, start)
                checkpoint = checkpoints.FitCheckpoint(self.checkpoint, problem)
            self.classes_, self._multilabel = labels.classes, labels.multilabel
            tasks = None
            if root is not None:
                metadata = None if sample_weight is None else {"sample_weight": sample_weight}
                told = {"estimator": self, "X": X, "y": y, "metadata": metadata}
                name = f"{fit.solver}-iter"
                tasks = observers.Tasks(root, name, self.max_iter, fit.attributes_of, **told)
            solution = self._minimize(fit.solver, fit.objective, start, tasks, checkpoint)
            # What partial_fit needs to go on from here, now that the rows are still at hand: one pass.
            self._precision = fit.precision_at(solution.x)
            self._keep(solution, fit, fit.solver)
            if tasks is not None:
                tasks.end()
            if checkpoint is not None:
                checkpoint.remove()
        if not solution.converged:
            self._warn(solution)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X: Any, y: Any, classes: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Learn from a batch of rows that will not be seen again.

        The first batch is fitted as `fit` does. For a later one, the losses of the earlier batches are
        replaced by a quadratic: their minimum and the diagonal of their curvature (Laplace's approximation
        [1]_). There is no learning rate, and the scale of the features does not matter.

        Parameters
        ----------
        X : array_like or SciPy sparse, (n, d)
        y : array_like (n,)
        classes : array_like (K,), optional
            All labels that will ever come; needed with the first batch, unless `fit` came before it: then its
            rows count as the first batch.
        sample_weight : array_like (n,), optional

        Returns
        -------
        self

        Notes
        -----
        C is the penalty's inverse strength against the *sum* of all losses, as in `fit`. The coefficients
        depend on how the rows were cut into batches and on their order.

        References
        ----------
        .. [1] O. Chapelle, L. Li, "An empirical evaluation of Thompson sampling", NIPS 2011, algorithm 3.
        """
        with fitting.kept_on_failure(self):
            self._validate_params()  # scikit-learn's wrapper does it for the first batch only
            settings = parameters.settle(self)
            precision = getattr(self, "_precision", None)
            if precision is None and classes is None:
                raise ValueError("classes must be given with the first call of partial_fit")
            known = self.classes_ if precision is not None else np.unique(np.asarray(classes))
            if classes is not None and not np.array_equal(known, np.unique(np.asarray(classes))):
                raise ValueError(f"classes must be those of the first batch, {known}; got {classes}")
            rows, y, sample_weight = self._given(X, y, sample_weight, reset=precision is None)
            labels = label_reader.read(y, rows, self.loss, known)
            weight = label_reader.weights(y, sample_weight, self.class_weight)
            liblinear.check_two_classes(self.solver, labels)
            # The penalty, with LIBLINEAR's of the intercept, is part of the quadratic.
            fit = Fit(self, rows, labels, weight, settings._replace(intercept_scaling=None), penalised=False)
            if precision is None:
                precision = fit.ridge(settings)
                centre = np.zeros(fit.objective.n_params)
            else:
                centre = fit.parameters_of(self.coef_, self.intercept_, precision)
            anchored = AnchoredObjective(fit.objective, centre, precision, fit.total_weight)
            solution = self._minimize(parameters.AUTO, anchored, centre)
            self._precision = precision + anchored.curvature(solution.x)
            self.classes_, self._multilabel = labels.classes, labels.multilabel
            self._keep(solution, fit, parameters.AUTO)
        if not solution.converged:
            self._warn(solution)
        return self

    def _rows(self, X: Any, y: Any, *, reset: bool) -> Rows:
        # y goes along only to be found missing: scikit-learn has the message for that.
        missing = {} if y is not None else {"y": None}
        if devices.elsewhere(X) is not None:
            rows = validation.design_matrix(X)
            validate_data(self, X, **missing, reset=reset, skip_check_array=True)
            return rows
        with validation.converting(X):
            finite = not validation.is_half(X)
            X = validate_data(self, X, **missing, **validation.CHECKS, reset=reset, ensure_all_finite=finite)
        return validation.design_matrix(X, checked=True)

    def _given(self, X: Any, y: Any, sample_weight: Any, *, reset: bool) -> tuple[Rows, Any, Any]:
        """Return checked rows, and labels and weights on the host."""
        rows = self._rows(X, y, reset=reset)
        y, rows = devices.fetched("y", y, self.device, rows)
        sample_weight, rows = devices.fetched("sample_weight", sample_weight, self.device, rows)
        return rows, y, sample_weight

    def _prepared(
        self, X: Any, y: Any, sample_weight: ArrayLike | None, settings: Settings
    ) -> tuple[Fit, Labels]:
        """Return what is to be minimised, once everything given has been checked, and the labels."""
        rows, y, sample_weight = self._given(X, y, sample_weight, reset=True)
        if settings.intercept_scaling is not None:
            rows = liblinear.with_constant(rows, settings.intercept_scaling)
        labels = label_reader.read(y, rows, self.loss)
        liblinear.check_two_classes(self.solver, labels)
        weight = label_reader.weights(y, sample_weight, self.class_weight)
        return Fit(self, rows, labels, weight, settings), labels

    def _start(self, fit: Fit, labels: Labels) -> Vector:
        coef = getattr(self, "coef_", None)
        fits = coef is not None and coef.shape == (labels.n_outputs, self.n_features_in_)
        warm = self.warm_start and fits and np.array_equal(self.classes_, labels.classes)
        x = np.zeros(fit.objective.n_params)
        if warm:
            x = fit.parameters_of(self.coef_, self.intercept_, getattr(self, "_precision", None))
        return fit.start(x, label_reader.foregone(labels, fit.given[2]))

    def _minimize(
        self,
        solver: str,
        objective: Objective,
        start: Vector,
        tasks: observers.Tasks | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> Solution:
        limits: dict[str, Any] = {"tol": self.tol, "max_iter": self.max_iter}
        with observers.watching(self.callbacks or (), self.verbose, tasks) as callback:
            return fitting.minimize(
                objective, start, solver, **limits, callback=callback, checkpoint=checkpoint
            )

    def _keep(self, solution: Solution, fit: Fit, solver: str) -> None:
        self.__dict__.update(fit.attributes_of(solution.x))
        # A point that is seen again in finer products is a record, but no step.
        self.n_iter_ = np.array([min(len(solution.history) - 1, self.max_iter)], dtype=np.int32)
        self.solver_, self.device_ = fit.ran(solver), fit.device
        self.objective_ = solution.value
        self.duality_gap_ = solution.gap
        self.history_ = list(solution.history)

    def _warn(self, solution: Solution, of: str = "") -> None:
        said = fitting.shortfall(solution, self.tol)
        warnings.warn(
            f"{self.solver_}{of} failed to converge after {self.n_iter_[0]} iteration(s): {said}",
            ConvergenceWarning,
            stacklevel=4,  # this, fit, and scikit-learn's wrapper of it
        )
