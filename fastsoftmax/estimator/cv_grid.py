"""The grid of a cross-validation: its values of C and l1_ratio, as LogisticRegressionCV takes them."""

from __future__ import annotations

import warnings
from numbers import Integral
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastsoftmax.contracts.wording import shown

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastsoftmax.contracts import Vector

WARN = "warn"  # LogisticRegressionCV's defaults in scikit-learn 1.9, which warn of what 1.10 and 1.11 change
DEFAULTS = {
    "l1_ratios": (
        "The default value for l1_ratios will change from None to (0.0,) in scikit-learn 1.10, which "
        "refuses None: give l1_ratios=(0,)"
    ),
    "scoring": (
        "The default value of the parameter 'scoring' will change from None, accuracy, to 'neg_log_loss' in "
        "scikit-learn 1.11: give scoring='neg_log_loss' for the new one, or 'accuracy' for the old one"
    ),
    "use_legacy_attributes": (
        "The default value of use_legacy_attributes will change from True to False in scikit-learn 1.10: "
        "give False for the simpler attributes, or True for those of before"
    ),
}
OF_PENALTY = {"l1": 1.0, "l2": 0.0}


class Grid(NamedTuple):
    """The values of C (m,), and of l1_ratio (r,) as they are fitted.

    `given` are the values of l1_ratio as the user gave them, [None] for none: where the deprecated `penalty`
    names another, they have no effect.
    """

    Cs: Vector
    l1_ratios: Vector
    given: NDArray[Any]

    @property
    def has_ratios(self) -> bool:
        """Whether values of l1_ratio were given."""
        return self.given[0] is not None

    @property
    def points(self) -> list[tuple[float, float]]:
        """All pairs of l1_ratio and C, by the former."""
        return [(ratio, C) for ratio in self.l1_ratios.tolist() for C in self.Cs.tolist()]


def of(model: Any) -> Grid:
    """Return the grid of a model's `Cs`, `l1_ratios` and `penalty`.

    Raises
    ------
    ValueError
        Unless the C are positive, and the values of l1_ratio numbers from 0 to 1.

    Warns
    -----
    FutureWarning
        For `penalty`, which scikit-learn 1.8 deprecated, and for each parameter that is "warn".
    UserWarning
        If `penalty` leaves l1_ratios without effect.
    """
    given = model.l1_ratios
    for name, text in DEFAULTS.items():
        if isinstance(getattr(model, name), str) and getattr(model, name) == WARN:
            _warn(text, FutureWarning)
            given = None if name == "l1_ratios" else given
    if model.l1_ratios is None and model.warns_of_none and model.penalty == "deprecated":
        _warn(
            "'l1_ratios=None' was deprecated in scikit-learn 1.8, and 1.10 refuses it: give l1_ratios=(0,)",
            FutureWarning,
        )
    ratios = None if given is None else ratios_of(given)
    if model.penalty != "deprecated":
        _warn(
            "'penalty' was deprecated in scikit-learn 1.8: use l1_ratios=(0,) for 'l2', (1,) for 'l1', "
            "numbers between for 'elasticnet', and Cs=(np.inf,) for no penalty",
            FutureWarning,
        )
        if model.penalty == "elasticnet" and ratios is None:
            raise ValueError("l1_ratios must be an array-like of numbers between 0 and 1; got None")
        if model.penalty in OF_PENALTY and ratios is not None:
            _warn(
                "l1_ratios parameter is only used when penalty is 'elasticnet'. "
                f"Got (penalty={model.penalty})",
                UserWarning,
            )
        if model.penalty in OF_PENALTY:
            ratios = np.full(1 if ratios is None else len(ratios), OF_PENALTY[model.penalty])
    return Grid(
        _strengths(model.Cs),
        np.zeros(1) if ratios is None else ratios,
        np.array([None]) if given is None else np.asarray(given),
    )


def _strengths(Cs: Any) -> Vector:
    """Return the values of C as float64 (m,). Raises ValueError unless they are positive numbers."""
    if isinstance(Cs, Integral):
        return np.logspace(-4, 4, int(Cs))
    array = np.asarray(Cs)
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "iuf" or not np.all(array > 0):
        raise ValueError(f"Cs must be a number of values or a list of positive numbers; got {shown(Cs)}")
    return array.astype(np.float64)


def ratios_of(l1_ratios: Any) -> Vector:
    """Return the values of l1_ratio as float64 (r,). Raises ValueError unless they are between 0 and 1."""
    array = np.asarray(l1_ratios)
    right = array.ndim == 1 and array.size and array.dtype.kind in "iuf"
    if not right or not np.all((array >= 0) & (array <= 1)):
        raise ValueError(
            f"l1_ratios must be an array-like of numbers between 0 and 1; got (l1_ratios={shown(l1_ratios)})"
        )
    return array.astype(np.float64)


def _warn(text: str, kind: type[Warning]) -> None:
    # stacklevel 5 is the caller of fit: this function, of, fit, scikit-learn's wrapper.
    warnings.warn(text, kind, stacklevel=5)
