"""The classifier's hyperparameters: their constraints, and the settings that they combine to."""

from __future__ import annotations

import os
import warnings
from numbers import Integral, Real
from typing import Any, NamedTuple, NoReturn

import numpy as np

from fastsoftmax import devices
from fastsoftmax.runtime.scikit_learn import Hidden, Interval, StrOptions

AUTO = "lbfgs"
# The solver that runs under each name of scikit-learn's: the optimum and the meaning of tol are the same.
RUNS = {
    "auto": AUTO,
    "lbfgs": "lbfgs",
    "newton-cg": "newton-cg",
    "newton-cholesky": "newton-cholesky",
    "sag": AUTO,
    "saga": AUTO,
    "liblinear": AUTO,
}
CONSTRAINTS: dict[str, list[Any]] = {
    "C": [Interval(Real, 0, None, closed="right")],
    "l1_ratio": [Interval(Real, 0, 1, closed="both"), None],
    "fit_intercept": ["boolean"],
    "class_weight": [dict, StrOptions({"balanced"}), None],
    "solver": [StrOptions(set(RUNS))],
    "tol": [Interval(Real, 0, None, closed="left")],
    "max_iter": [Interval(Integral, 0, None, closed="left")],
    "warm_start": ["boolean"],
    "random_state": ["random_state"],
    "verbose": ["verbose"],
    "n_threads": [Interval(Integral, 1, None, closed="left"), None],
    "device": [StrOptions(set(devices.CHOICES))],
    "callbacks": ["array-like", None],
    "loss": [StrOptions({"softmax", "sigmoid"})],
    "multi_class": [StrOptions({"multinomial", "ovr"})],
    "checkpoint": [str, os.PathLike, None],
    "penalty": [StrOptions({"l1", "l2", "elasticnet"}), None, Hidden(StrOptions({"deprecated"}))],
    "dual": ["boolean"],
    "intercept_scaling": [Interval(Real, 0, None, closed="neither")],
    "n_jobs": [None, Integral],
    "keep_on_interrupt": ["boolean"],
    "standardize": ["boolean"],
    "penalty_weights": ["array-like", None],
    "group_classes": ["boolean"],
    "max_seconds": [Interval(Real, 0, None, closed="left"), None],
}


class ParameterNames:
    """The mixin of SoftmaxRegression that finds the names of its parameters once a class.

    scikit-learn reads the constructor's signature at each fit: as long as five passes over 150 × 4.
    """

    _param_names: tuple[str, ...] | None = None

    @classmethod
    def _get_param_names(cls) -> list[str]:
        known: tuple[str, ...] | None = vars(cls).get("_param_names")  # of this class, not of one above it
        if known is None:
            known = tuple(super()._get_param_names())  # type: ignore[misc]
            cls._param_names = known
        return list(known)


class Settings(NamedTuple):
    """The settings of a fit: inverse strength of its penalty, solver that runs, and kind of intercept.

    `intercept_scaling` is None if the intercept is not penalised; otherwise the intercept is the coefficient
    of a constant feature of that value, penalised with the others, as in LIBLINEAR. `l1_ratio` is that of the
    penalty's absolute values; `weighted` tells whether it has `penalty_weights`.
    """

    C: float
    solver: str
    intercept_scaling: float | None
    l1_ratio: float = 0.0
    weighted: bool = False

    @property
    def is_sparse(self) -> bool:
        """Whether the penalty is more than the squared norm."""
        return self.l1_ratio > 0.0 or self.weighted

    def at(self, C: float) -> Settings:
        """Return the same settings with another C; an infinite one is no penalty."""
        if np.isinf(C):
            return self._replace(C=C, l1_ratio=0.0, weighted=False)
        return self._replace(C=C)


def refuse_for_absolutes(what: str) -> NoReturn:
    """Raise ValueError: `what` takes the squared norm as the penalty."""
    raise ValueError(
        f"{what} is not in this version for penalties other than the squared norm: give l1_ratio=0 and "
        "penalty_weights=None"
    )


def settle(model: Any, C: float | None = None) -> Settings:
    """Return the settings that the parameters of a SoftmaxRegression combine to; `C` replaces its own.

    Raises
    ------
    ValueError
        If they contradict each other.

    Warns
    -----
    FutureWarning
        For `penalty`, `n_jobs` and `l1_ratio=None`, which scikit-learn 1.8 deprecated.
    UserWarning
        If `penalty` leaves another parameter without effect.
    """
    C = float(model.C if C is None else C)
    penalty = _penalty(model, C)
    _refuse_unsupported(model.solver, penalty, model.dual)
    _warn_of_ignored(model, penalty, C)
    finite = penalty is not None and np.isfinite(C)
    l1_ratio = {"l1": 1.0, "elasticnet": model.l1_ratio}.get(str(penalty), 0.0) if finite else 0.0
    scaled = model.solver == "liblinear" and model.fit_intercept
    if scaled and model.standardize:
        raise ValueError(
            "standardize=True takes an intercept that is not penalised, and solver='liblinear' penalises it: "
            "give solver='auto', or fit_intercept=False"
        )
    return Settings(
        np.inf if penalty is None else C,
        RUNS[model.solver],
        float(model.intercept_scaling) if scaled else None,
        float(l1_ratio),
        finite and getattr(model, "penalty_weights", None) is not None,
    )


def _penalty(model: Any, C: float) -> str | None:
    """Return the penalty as scikit-learn's deprecated parameter: "l2", "l1", "elasticnet" or None."""
    if model.penalty != "deprecated":
        _warn(
            "'penalty' was deprecated in scikit-learn 1.8: use l1_ratio=0 for 'l2', l1_ratio=1 for 'l1', a "
            "number between for 'elasticnet', and C=np.inf for None",
            FutureWarning,
        )
        if model.penalty == "elasticnet" and model.l1_ratio is None:
            raise ValueError("l1_ratio must be specified when penalty is elasticnet")
        kind: str | None = model.penalty
        return kind
    if model.l1_ratio is None:
        _warn("'l1_ratio=None' was deprecated in scikit-learn 1.8: use a number from 0 to 1", FutureWarning)
    if np.isinf(C):
        return None
    if not model.l1_ratio:
        return "l2"
    return "l1" if model.l1_ratio == 1 else "elasticnet"


def _refuse_unsupported(solver: str, penalty: str | None, dual: bool) -> None:
    """Raise ValueError for a combination that scikit-learn's solver of that name does not support."""
    if solver not in ("auto", "liblinear", "saga") and penalty not in ("l2", None):
        raise ValueError(f"Solver {solver} supports only 'l2' or None penalties, got {penalty} penalty.")
    if solver != "liblinear" and dual:
        raise ValueError(f"Solver {solver} supports only dual=False, got dual={dual}")
    if solver == "liblinear" and penalty == "elasticnet":
        raise ValueError(f"Only 'saga' solver supports elasticnet penalty, got solver={solver}.")
    if solver == "liblinear" and penalty is None:
        raise ValueError("C=np.inf as well as penalty=None is not supported for the liblinear solver")


def _warn_of_ignored(model: Any, penalty: str | None, C: float) -> None:
    """Warn of parameters that have no effect beside the others."""
    if model.n_jobs is not None:
        _warn(
            f"'n_jobs' has no effect; n_threads is the number of threads. Got n_jobs={model.n_jobs}",
            FutureWarning,
        )
    if model.penalty == "deprecated":
        return
    if penalty != "elasticnet" and model.l1_ratio is not None and 0 < model.l1_ratio < 1:
        _warn(
            f"l1_ratio parameter is only used when penalty is 'elasticnet'. Got (penalty={penalty})",
            UserWarning,
        )
    if (penalty, model.l1_ratio) not in (("l2", 0), ("l1", 1)) and penalty in ("l1", "l2"):
        _warn(
            f"Inconsistent values: penalty={penalty} with l1_ratio={model.l1_ratio}. Use l1_ratio only.",
            UserWarning,
        )
    if penalty is None and C != 1.0:
        _warn("Setting penalty=None will ignore the C and l1_ratio parameters", UserWarning)


def _warn(text: str, kind: type[Warning]) -> None:
    # stacklevel 6 is the caller of fit: this function, its caller, settle, fit, scikit-learn's wrapper.
    warnings.warn(text, kind, stacklevel=6)
