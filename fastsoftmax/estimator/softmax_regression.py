"""SoftmaxRegression: the scikit-learn estimator around the objective and the solvers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from sklearn.base import BaseEstimator

from fastsoftmax.data import dask
from fastsoftmax.data.blocks.row_set import RowSet
from fastsoftmax.estimator import callbacks as observers
from fastsoftmax.estimator import (
    fitting,
    hyperparameters,
    interrupts,
    liblinear,
    offsets,
    progress_line,
    streamed,
)
from fastsoftmax.estimator import labels as label_reader
from fastsoftmax.estimator.batches import BatchFitting
from fastsoftmax.estimator.checkpointing import problem_of
from fastsoftmax.estimator.exporting import Export
from fastsoftmax.estimator.given import GivenRows
from fastsoftmax.estimator.hyperparameters import ParameterNames
from fastsoftmax.estimator.many import ManyFitting
from fastsoftmax.estimator.minimising import Minimising
from fastsoftmax.estimator.notebook import NotebookView
from fastsoftmax.estimator.path import RegularizationPath
from fastsoftmax.estimator.prediction import Prediction
from fastsoftmax.estimator.saving import Persistence
from fastsoftmax.estimator.sparse_fitting import fit_of
from fastsoftmax.estimator.statistical import Statistics
from fastsoftmax.persistence.checkpoint import FitCheckpoint
from fastsoftmax.runtime import compile_ahead, compiling, library
from fastsoftmax.runtime.scikit_learn import (
    CallbackSupportMixin,
    LinearClassifierMixin,
    SparseCoefMixin,
    _fit_context,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from fastsoftmax.contracts import MatrixLike
    from fastsoftmax.estimator.fitting import Fit
    from fastsoftmax.estimator.hyperparameters import Settings
    from fastsoftmax.estimator.labels import Labels


class SoftmaxRegression(
    NotebookView,
    GivenRows,
    Prediction,
    RegularizationPath,
    ManyFitting,
    BatchFitting,
    Minimising,
    Persistence,
    Export,
    Statistics,
    ParameterNames,
    CallbackSupportMixin,  # here, as in LogisticRegression: a class may be both
    LinearClassifierMixin,
    SparseCoefMixin,
    BaseEstimator,
):
    """Multinomial logistic regression with a certified optimum: a drop-in for LogisticRegression.

    Minimises F(W, b) = Σᵢ wᵢ ℓᵢ / Σᵢ wᵢ + (l2 / 2) ‖W‖² with l2 = 1 / (C Σ w), in nats: scikit-learn's
    objective divided by C Σ w, so the optimum is the same. Two classes are scikit-learn's binary model:
    one row of coefficients, for the second class.

    Parameters
    ----------
    C : float, default 1.0
        Inverse strength of the penalty; `inf` means none.
    l1_ratio : float in [0, 1], default 0.0
        α of the elastic net: the penalty is l2 [(1 − α)/2 ‖W‖² + α Σ |Wⱼₖ|], with exact zeros for α > 0. On
        the CPU, with solver "auto", "saga" or (α = 1) "liblinear"; not by `partial_fit`. With `standardize`
        it is that of the coefficients of standardised features. None is 0.0, with scikit-learn's deprecation
        warning.
    fit_intercept : bool, default True
    class_weight : dict or "balanced", optional
        Weights of the classes, multiplied into the sample weights. For labels, not for probabilities.
    solver : {"auto", "lbfgs", "newton-cg", "newton-cholesky", "sag", "saga", "liblinear"}
        "auto" is "lbfgs" in this version. Some names run another solver to the same optimum, which `solver_`
        then names: "newton-cholesky" runs "newton-cg" if K (d + 1) is above 2,048; "sag", "saga" and
        "liblinear" run "auto". With "liblinear" the intercept is the coefficient of a constant feature of
        value `intercept_scaling`, penalised with the others; two classes only; X is copied.
    tol : float, default 1e-6
        Stop when (F − F*) / max(F, tiny) is certified (duality gap, for finite C) or estimated (Newton
        decrement, for C = inf) to be at most this: one meaning for every solver.
    max_iter : int, default 1000
        The most steps of the solver.
    warm_start : bool, default False
        Start from the coefficients of the last fit if their shape and the classes are the same.
    random_state : int, RandomState or None
        Not used: fits are deterministic.
    verbose : int, default 0
        1 writes the progress to standard error, and while kernels are compiled, once on a machine, that.
    n_threads : int, optional
        None takes every processor that the process may use. The result does not depend on it.
    device : {"cpu", "cuda", "auto"}
        The device that computes passes over X: "cuda" is an NVIDIA GPU (the extra `cuda`; `fit` raises
        DeviceUnavailable with the reason if it cannot be used); "auto" is "cuda" if there is one and X is
        large enough for it (`fastsoftmax.devices.settled`). The solver's vectors stay on the host.
    callbacks : sequence of callables, optional
        Each is called with the `Record` of every step, and ends the fit there by returning True: no warning,
        and the gap that was reached. One with a true attribute `wants_model` (`EarlyStopping`) is called with
        the record and the model of that step, in `fit` and `fit_path`. scikit-learn's own callbacks (1.9) go
        to `set_callbacks`; every solver reports to them.
    loss : {"softmax", "sigmoid"}
        "sigmoid" with y (n, K) of independent labels in [0, 1] is the multi-label model.
    multi_class : {"multinomial", "ovr"}
        "ovr" tells each of more than two classes from all others by a sigmoid of its own: the problems of
        OneVsRestClassifier(LogisticRegression(C)), in one minimisation of their sum. Holds a matrix (n, K)
        of 0 and 1 in the dtype of products with X; of rows elsewhere, a part of it.
        `class_weight="balanced"` balances each class with the others, in K minimisations one after the other.
    checkpoint : str or path-like, optional
        A file to which `fit` writes its state, every 10 seconds and in at most a twentieth of its time;
        deleted when the fit has ended. After a kill, the same fit continues from it to the same bits (on the
        same machine and libraries). A file of another fit is a ValueError. X is read once more, for a digest.
    keep_on_interrupt : bool, default False
        True: a KeyboardInterrupt (Ctrl-C) while `fit` minimises ends it with a ConvergenceWarning, and the
        last point reached is the result; a checkpoint stays on disk. Costs a copy of each point. Otherwise,
        in `partial_fit` and `fit_path`, and where classes are balanced one by one (`multi_class`),
        KeyboardInterrupt is raised, and the estimator stays as it was.
    standardize : bool, default False
        True: the penalty is on the coefficients of standardised features, as after StandardScaler, and
        `coef_` and `intercept_` are for X as it is. X is not copied, sparse X stays sparse. Means and
        deviations are those of the rows of `fit` by `sample_weight`; `class_weight` does not count. A feature
        that is constant has the deviation 1. Without an intercept features are divided by their deviations
        only. Not with solver "liblinear" and an intercept, which is penalised there; `partial_fit` goes on
        from a `fit`, with the deviations of its rows.
    penalty_weights : array_like (d,) or (K, d), optional
        Factors of the coefficients' penalties, K = 1 for two classes. 0 leaves a coefficient free; there is
        no duality gap then.
    group_classes : bool, default False
        True: norms ‖W·ⱼ‖₂ in place of absolute values: a feature is in or out for all classes.
    max_seconds : float, optional
        `fit` ends at the first step so many seconds after its call, with a ConvergenceWarning, the gap that
        was reached, and its checkpoint, from which the same fit goes on. What is done before the first step
        and between two is not cut short. In `fit_path`, `partial_fit` and where classes are balanced one by
        one, of each fit; not in `fit_many`.
    penalty, dual, intercept_scaling, n_jobs
        As scikit-learn 1.9 has them: `penalty` is deprecated there (use `l1_ratio` and C), `dual=True` and
        `intercept_scaling` go with solver "liblinear", `n_jobs` has no effect, with a warning.

    Attributes
    ----------
    coef_ : ndarray (K, d), or (1, d) for two classes
        float32 where X is (and the solver is not "liblinear") and stores them precisely enough: rounded to
        float32 they must not raise F by more than a quarter of what `tol` allows. Otherwise float64. CSR
        after `sparsify`.
    intercept_ : ndarray (K,) or (1,)
    classes_ : ndarray (K,)
        The labels in sorted order. For probability and multi-label targets the names of the columns in
        their order, if y is a frame and all are strings; otherwise 0 … K − 1.
    n_features_in_ : int
    feature_names_in_ : ndarray (d,), where X had names that are all strings
    n_iter_ : ndarray (1,), int32
        Steps of the solver, at most `max_iter`.
    solver_ : str
        The solver that ran, with " on cuda" appended if passes were computed on a GPU.
    device_ : {"cpu", "cuda"}
        The device that computed the passes over X.
    kernels_ : str
        Whose kernels computed them, on which the last bits depend: "library", its table and its processor
        level, or "numba" and its version.
    objective_ : float
        F at `coef_` and `intercept_` as they are stored, in nats, as by float64 products: those of all rows,
        or, where the fit's own are float32, of 512 rows that tell of their error (to some 1e-9).
    duality_gap_ : float or None
        An upper bound of `objective_` − F*, in nats. For C = inf it is None unless such a bound costs
        little beside the fit, of classes that overlap (`SoftmaxObjective.unpenalised_bound`).
    history_ : list of Record
        (seconds, objective, grad_norm, gap, passes, bytes_read) at the start and after every step.

    Raises
    ------
    ValueError
        From `fit`: shapes that disagree, NaN or infinity in X, one class only, options out of range. A
        failed fit leaves the attributes of an earlier one unchanged.

    Notes
    -----
    float16, float32, float64, uint8, int8 and int16 X are read as they are, without a copy or a conversion of
    the whole. Products are float32 for float32 and narrower X, but float64 in fits of small problems; sums,
    gradients and parameters are float64. The last point is checked by float64 products of at most 512 rows;
    where those find that float32 hid more than a quarter of what `tol` allows, the fit goes on with them.

    With a free intercept, columns whose mean is more than 100 times their deviation (timestamps; told from
    512 rows) are centred in the parametrisation: coefficients and F are those of X as it is, which is not
    copied. Unless they are constant, products with narrow X are then float64, in predictions, too.

    Without a penalty, nearly equal columns are told apart down to differences of some 1e-13 of their size
    (1e-6 if products are float32, or K d² above some 5 million); nearer ones are taken for equal.

    Dense X with at least twice as many features as rows, and 48 MiB as float64 at most, is factorised once,
    unless a small problem ends before that is worth it: the solver then sees the rows' n float64 coordinates
    in the row space. The optimum is the same; the passes of `history_` are then passes over those.

    With absolute values in the penalty products are float64, `coef_` of more than two classes is unique: of
    pure absolute values each feature's (weighted) median over classes is zero, and free intercepts have
    the mean zero; see docs/solver.md.

    A class whose rows all weigh zero stays in `classes_` and is never predicted: its free intercept, whose
    optimum is −∞, is set 1000 below the others, for a probability of 0. So is that of a label that no row
    has; with "sigmoid", that of a label that all rows have is set to +1000.

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

    _parameter_constraints = hyperparameters.CONSTRAINTS

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
        multi_class: str = "multinomial",
        checkpoint: str | os.PathLike[str] | None = None,
        penalty: str | None = "deprecated",
        dual: bool = False,
        intercept_scaling: float = 1,
        n_jobs: int | None = None,
        keep_on_interrupt: bool = False,
        standardize: bool = False,
        penalty_weights: ArrayLike | None = None,
        group_classes: bool = False,
        max_seconds: float | None = None,
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
        self.multi_class = multi_class
        self.checkpoint = checkpoint
        self.penalty = penalty
        self.dual = dual
        self.intercept_scaling = intercept_scaling
        self.n_jobs = n_jobs
        self.keep_on_interrupt = keep_on_interrupt
        self.standardize = standardize
        self.penalty_weights = penalty_weights
        self.group_classes = group_classes
        self.max_seconds = max_seconds

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.classifier_tags.multi_label = tags.target_tags.multi_output = self.loss == "sigmoid"
        several = self.solver != "liblinear" or self.multi_class == "ovr"
        tags.classifier_tags.multi_class = self.loss == "softmax" and several
        return tags

    # --- fitting --------------------------------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: MatrixLike | RowSet,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        *,
        offset: ArrayLike | None = None,
    ) -> Self:
        """Fit the model to rows X and labels y.

        Parameters
        ----------
        X : array_like or SciPy sparse, (n, d), an array on a GPU, or rows of `fastsoftmax.open_rows`
            Arrays of CuPy, PyTorch and others are read on the GPU without a copy; `device` must not be "cpu".
            Rows of `open_rows` and `rows_from` bring their labels and weights.
        y : array_like, (n,) labels, or (n, K) probabilities or counts (multi-label: labels in [0, 1])
            The columns of a frame name the classes. Counts are whole numbers, some above 1: a row is as many
            rows as they sum to.
        sample_weight : array_like (n,), optional
            Not negative. A row of weight zero has no effect.
        offset : array_like (n, K), or (n,) for one logit, optional
            Known logits, added to X W + b; one logit is that of two classes or of one label. X is copied to
            float64, with K more columns. Predictions take theirs as `offset`. Not with absolute values in
            the penalty, `standardize`, "ovr", "liblinear", `checkpoint`, a GPU, or rows elsewhere. With
            C=inf there is no `duality_gap_`.

        Returns
        -------
        self

        Warns
        -----
        ConvergenceWarning
            If the tolerance was not reached; the message gives the gap and what to change. Or if the fit was
            interrupted, with `keep_on_interrupt`.
        """
        deadline = None if self.max_seconds is None else observers.Deadline(self.max_seconds)
        if self._balances_each() and offset is None:
            rows, labels_of_rows, weight = streamed.arrays_of(X, y, sample_weight)
            return self._fit_each(rows, labels_of_rows, lambda part, member: part.fit(rows, member, weight))
        # Outside of `kept_on_failure`: scikit-learn's wrapper removes the attributes that this sets.
        root = observers.root_of(self)
        last = interrupts.LastPoint() if self.keep_on_interrupt else None
        with fitting.kept_on_failure(self), progress_line.shown(self.verbose) as line:
            settings = hyperparameters.settle(self)
            fit, labels = self._prepared(X, y, sample_weight, settings, offset)
            start = fitting.start_of(self, fit, labels)
            checkpoint = None
            if self.checkpoint is not None:
                problem = problem_of(self, settings, fit.device, *fit.data, start, fit.scale)
                checkpoint = FitCheckpoint(self.checkpoint, problem, library.identity())
            self.__dict__.update(labels.attributes)
            self.__dict__.pop("_table", None)  # what a file said of other rows
            self._with_offset = offset is not None
            tasks = None
            if root is not None:
                metadata = None if sample_weight is None else {"sample_weight": sample_weight}
                context = {"estimator": self, "X": X, "y": y, "metadata": metadata}
                name = f"{fit.solver}-iter"
                tasks = observers.Tasks(root, name, self.max_iter, fit.attributes_of, **context)
            plan = fit.plan
            with compiling.forecast(plan), compile_ahead.helping(fit.plan_ahead, self.n_threads):
                solution = self._minimize(
                    fit.solver, fit.objective, start, line, tasks, checkpoint, last, deadline,
                    self._models_of(fit, fit.solver),
                )  # fmt: skip
                # For a later partial_fit, which will not see these rows: one pass.
                self._precision = fit.precision_at(solution.x)
            self._keep(solution, fit, fit.solver)
            if tasks is not None:
                tasks.end()
            if checkpoint is not None and not interrupts.may_go_on(solution, deadline):
                checkpoint.remove()
        if not solution.converged:
            self._warn(solution)
        return self

    def _prepared(
        self,
        X: MatrixLike | RowSet,
        y: ArrayLike | None,
        sample_weight: ArrayLike | None,
        settings: Settings,
        offset: ArrayLike | None = None,
    ) -> tuple[Fit, Labels]:
        """Return the fit and the labels of validated arguments."""
        if offset is not None:
            offsets.check(self, X, settings)
        X, y, sample_weight = dask.taken(X, y, sample_weight)
        if isinstance(X, RowSet):
            return streamed.prepared(self, X, y, sample_weight, settings)
        rows, y, sample_weight = self._given(X, y, sample_weight, reset=True)
        if settings.intercept_scaling is not None:
            rows = liblinear.with_constant(rows, settings.intercept_scaling)
        labels = label_reader.read(y, rows, self.loss, multi_class=self.multi_class)
        liblinear.check_two_classes(self.solver, labels)
        weight = label_reader.weights(y, sample_weight, self.class_weight)
        given = label_reader.weights(y, sample_weight, None)
        if offset is not None:
            return offsets.OffsetFit(self, rows, labels, weight, settings, offset), labels
        return fit_of(self, rows, labels, weight, settings, given), labels
