"""SoftmaxRegression: scikit-learn's contract around the objective and the solvers."""

from __future__ import annotations

import contextlib
import importlib
import numbers
import sys
import warnings
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted, validate_data

from fastsoftmax import devices, model_file, saved, validation
from fastsoftmax import labels as label_reader
from fastsoftmax.contracts import Record, RowBlock
from fastsoftmax.kernels import blas
from fastsoftmax.objective import SoftmaxObjective
from fastsoftmax.online import AnchoredObjective
from fastsoftmax.prediction import Prediction

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

    from fastsoftmax.contracts import Rows, Solution
    from fastsoftmax.labels import Labels

SOLVERS = {"newton-cg": "fastsoftmax.solvers.newton_cg", "lbfgs": "fastsoftmax.solvers.lbfgs"}
AUTO = "lbfgs"


class SoftmaxRegression(Prediction, ClassifierMixin, BaseEstimator):
    """Multinomial logistic regression that says how close it came: a drop-in for LogisticRegression.

    Minimises F(W, b) = Σᵢ wᵢ ℓᵢ / Σᵢ wᵢ + (l2 / 2) ‖W‖² with l2 = 1 / (C Σ w), in nats: scikit-learn's
    objective divided by C Σ w, so the optimum is the same. Two classes are scikit-learn's binary model:
    one row of coefficients, for the second class.

    Parameters
    ----------
    C : float, default 1.0
        Inverse strength of the penalty; `inf` means none.
    l1_ratio : float, default 0.0
        Only 0.0: the penalty is the squared norm.
    fit_intercept : bool, default True
    class_weight : dict or "balanced", optional
        Weights of the classes, multiplied into the sample weights. For labels, not for probabilities.
    solver : {"auto", "newton-cg", "lbfgs"}
        "auto" is "lbfgs" in this version.
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
        1 prints a line on standard error after every step.
    n_threads : int, optional
        None takes every processor the process may use. The result does not depend on it.
    device : {"cpu"}
    callbacks : sequence of callables, optional
        Each is called with the `Record` of every step.
    loss : {"softmax", "sigmoid"}
        "sigmoid" with y (n, K) of labels in [0, 1] that do not exclude each other is the multi-label model.

    Attributes
    ----------
    coef_ : ndarray (K, d), or (1, d) for two classes
        float64, whatever X is.
    intercept_ : ndarray (K,) or (1,)
    classes_ : ndarray (K,)
        The labels in sorted order; 0 … K − 1 for probability and multi-label targets.
    n_features_in_ : int
    feature_names_in_ : ndarray (d,), where X had names that are all strings
    n_iter_ : ndarray (1,), int32
        Steps of the solver.
    solver_ : str
        The solver that ran.
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

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    # --- fitting --------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the model to rows X and labels y.

        Parameters
        ----------
        X : array_like or SciPy sparse, (n, d)
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
        with self._kept_on_failure():
            self._check_parameters()
            rows = self._rows(X, y, reset=True)
            labels = label_reader.read(y, rows, self.loss)
            weight = label_reader.weights(y, sample_weight, self.class_weight)
            l2 = 0.0 if np.isinf(self.C) else 1.0 / (self.C * float(weight.sum()))
            objective = self._objective(RowBlock(rows, labels.target, weight), labels, l2)
            solver = AUTO if self.solver == "auto" else self.solver
            solution = self._minimize(solver, objective, self._start(objective, labels))
            self._keep(solution, objective, labels, solver)
            # What partial_fit needs to go on from here, now that the rows are still at hand: one pass.
            self._precision = objective.diagonal(solution.x) * float(weight.sum())
        if not solution.converged:
            self._warn(solution)
        return self

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
        with self._kept_on_failure():
            self._check_parameters()
            precision = getattr(self, "_precision", None)
            if precision is None and classes is None:
                raise ValueError("classes must be given with the first call of partial_fit")
            known = self.classes_ if precision is not None else np.unique(np.asarray(classes))
            if classes is not None and not np.array_equal(known, np.unique(np.asarray(classes))):
                raise ValueError(f"classes must be those of the first batch, {known}; got {classes}")
            rows = self._rows(X, y, reset=precision is None)
            labels = label_reader.read(y, rows, self.loss, known)
            weight = label_reader.weights(y, sample_weight, self.class_weight)
            objective = self._objective(RowBlock(rows, labels.target, weight), labels, 0.0)
            if precision is None:
                ridge = np.full((labels.n_outputs, objective.n_features), 1.0 / self.C)
                precision = objective.pack(ridge, np.zeros(labels.n_outputs))
                centre = np.zeros(objective.n_params)
            else:
                centre = objective.pack(self.coef_, self.intercept_)
            anchored = AnchoredObjective(objective, centre, precision, float(weight.sum()))
            solution = self._minimize(AUTO, anchored, centre)
            self._precision = precision + anchored.curvature(solution.x)
            self._keep(solution, objective, labels, AUTO)
        if not solution.converged:
            self._warn(solution)
        return self

    @contextlib.contextmanager
    def _kept_on_failure(self) -> Iterator[None]:
        """Leave the estimator as it was if the body does not come to its end."""
        before = self.__dict__.copy()
        try:
            yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def _check_parameters(self) -> None:
        if not (isinstance(self.C, numbers.Real) and self.C > 0):
            raise ValueError(f"C must be a positive number or inf; got {self.C!r}")
        if self.l1_ratio != 0:
            raise ValueError(f"l1_ratio must be 0.0: only the squared penalty is here; got {self.l1_ratio!r}")
        if self.solver != "auto" and self.solver not in SOLVERS:
            names = ", ".join(map(repr, ("auto", *SOLVERS)))
            raise ValueError(f"solver must be one of {names}; got {self.solver!r}")
        if not (isinstance(self.tol, numbers.Real) and self.tol >= 0):
            raise ValueError(f"tol must be a number that is not negative; got {self.tol!r}")
        if not (isinstance(self.max_iter, numbers.Integral) and self.max_iter >= 0):
            raise ValueError(f"max_iter must be an integer that is not negative; got {self.max_iter!r}")
        if self.loss not in ("softmax", "sigmoid"):
            raise ValueError(f"loss must be 'softmax' or 'sigmoid'; got {self.loss!r}")
        devices.get(self.device)

    def _rows(self, X: Any, y: Any, *, reset: bool) -> Rows:
        # y goes along only to be found missing: scikit-learn has the message for that.
        X = validate_data(
            self,
            X,
            **({} if y is not None else {"y": None}),
            reset=reset,
            accept_sparse=("csr", "csc"),
            accept_large_sparse=True,
            dtype="numeric",
            ensure_all_finite=not validation.is_half(X),
        )
        return validation.design_matrix(X, checked=True)

    def _objective(self, rows: RowBlock, labels: Labels, l2: float) -> SoftmaxObjective:
        return SoftmaxObjective.of_rows(
            rows,
            labels.n_outputs,
            l2=l2,
            fit_intercept=self.fit_intercept,
            loss=labels.loss,
            device=self.device,
            n_threads=self.n_threads,
        )

    def _start(self, objective: SoftmaxObjective, labels: Labels) -> NDArray[np.float64]:
        coef = getattr(self, "coef_", None)
        fits = coef is not None and coef.shape == (objective.n_classes, objective.n_features)
        if self.warm_start and fits and np.array_equal(self.classes_, labels.classes):
            return objective.pack(self.coef_, self.intercept_)
        return np.zeros(objective.n_params)

    def _minimize(self, solver: str, objective: Any, start: NDArray[np.float64]) -> Solution:
        # BLAS's threads would spin beside the kernels' between two passes, and the bits of the solver's inner
        # products would depend on their number.
        with blas.one_thread():
            solution: Solution = importlib.import_module(SOLVERS[solver]).minimize(
                objective, start, tol=self.tol, max_iter=self.max_iter, callback=self._callback()
            )
        return solution

    def _callback(self) -> Any:
        called = list(self.callbacks or ())
        if self.verbose:
            called.append(_print_record)
        if not called:
            return None

        def call_all(record: Record) -> None:
            for callback in called:
                callback(record)

        return call_all

    def _keep(self, solution: Solution, objective: SoftmaxObjective, labels: Labels, solver: str) -> None:
        coef, intercept = objective.unpack(solution.x)
        self.coef_ = coef.copy()
        self.intercept_ = intercept.copy()
        self.classes_ = labels.classes
        self.n_iter_ = np.array([len(solution.history) - 1], dtype=np.int32)
        self.solver_ = solver
        self.objective_ = solution.value
        self.duality_gap_ = solution.gap
        self.history_ = list(solution.history)
        self._multilabel = labels.multilabel

    def _warn(self, solution: Solution) -> None:
        kind = "duality gap" if solution.gap is not None else "estimated gap"
        advice = "Raise max_iter, or tol if this is close enough."
        if "separable" in solution.message:
            advice = "Give a finite C."
        elif "precision" in solution.message:
            advice = "Pass X as float64, or raise tol."
        warnings.warn(
            f"SoftmaxRegression stopped before tol={self.tol:g}: {solution.message}. Relative {kind} "
            f"{solution.suboptimality:.2g} after {solution.history[-1].passes} passes over X. {advice}",
            ConvergenceWarning,
            stacklevel=3,
        )

    # --- files ----------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model to a file (safetensors: arrays and a JSON header, nothing executable).

        The file is replaced whole or not at all. `callbacks`, `random_state`, `n_threads` and `device` belong
        to the program and its machine and are not kept.
        """
        check_is_fitted(self)
        model_file.save(path, *saved.parts_of(self))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Return the fitted model that `save` wrote.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it is no model file, is damaged, or was written by a later version.
        """
        arrays, header = model_file.load(path)
        try:
            return saved.restored(cls, arrays, header)
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(f"{str(path)!r} holds no SoftmaxRegression: {error!r}") from error


def _print_record(record: Record) -> None:
    gap = "" if record.gap is None else f"  gap {record.gap:.2e}"
    print(
        f"{record.seconds:8.2f} s  passes {record.passes:5d}  objective {record.objective:.9f}"
        f"  gradient {record.grad_norm:.2e}{gap}",
        file=sys.stderr,
    )
