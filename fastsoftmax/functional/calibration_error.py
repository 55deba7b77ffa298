"""How far stated probabilities are from what happens: reliability by bins, and the calibration error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.special

from fastsoftmax.contracts.wording import shown

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Vector = NDArray[np.float64]

STRATEGIES = ("uniform", "quantile")


class Reliability(NamedTuple):
    """What happened in bins of rows by stated probability; bins without rows are left out.

    Attributes
    ----------
    confidence : ndarray (m,)
        The mean stated probability of a bin's rows.
    fraction : ndarray (m,)
        The fraction of them for which it came true.
    lower, upper : ndarray (m,)
        Wilson's interval [1]_ of that fraction, of the level asked for.
    weight : ndarray (m,)
        The rows' weight: their number, without weights.
    edges : ndarray (m, 2)
        A bin's ends; the lower one does not belong to it, but for 0.
    event : str
        What came true: "right", or the name of the class.

    References
    ----------
    .. [1] E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22
       (1927).
    """

    confidence: Vector
    fraction: Vector
    lower: Vector
    upper: Vector
    weight: Vector
    edges: Vector
    event: str

    @property
    def expected_calibration_error(self) -> float:
        """The mean over rows of |fraction − confidence| of a row's bin."""
        return float(self.weight @ np.abs(self.fraction - self.confidence) / self.weight.sum())

    @property
    def maximum_calibration_error(self) -> float:
        """The largest |fraction − confidence| of a bin: that of a bin of few rows is mostly chance."""
        return float(np.abs(self.fraction - self.confidence).max())

    @property
    def by_chance(self) -> float:
        """About the calibration error that chance alone gives probabilities that are right.

        The mean of |fraction − confidence| of normal fractions, √(2/π) of their deviations; without weights.
        """
        deviation = np.sqrt(self.confidence * (1.0 - self.confidence) / self.weight)
        return float(np.sqrt(2.0 / np.pi) * (self.weight @ deviation) / self.weight.sum())


def reliability(
    y: ArrayLike,
    proba: ArrayLike,
    *,
    classes: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    n_bins: int = 15,
    strategy: str = "uniform",
    level: float = 0.95,
) -> Reliability:
    """Return how often stated probabilities came true, by bins, with intervals.

    Parameters
    ----------
    y : array_like (n,)
        Labels: among `classes`, or integers in [0, K).
    proba : array_like (n, K), or (n,)
        Probabilities. (n,), and two columns, are those of the second class; of more columns it is whether the
        most probable class is right, and its probability.
    classes : array_like (K,), optional
        The labels of the columns, as `classes_` of a model.
    sample_weight : array_like (n,), optional
        Not negative.
    n_bins : int, default 15
    strategy : {"uniform", "quantile"}
        Bins of equal width, or of about equal numbers of rows.
    level : float, default 0.95
        Of the intervals.

    Returns
    -------
    reliability : Reliability

    Raises
    ------
    ValueError
        For shapes that disagree, labels that are not among the classes, probabilities outside [0, 1], and
        options out of range.

    Notes
    -----
    With weights an interval is that of (Σ w)² / Σ w² rows. O(n (K + log n)).

    Examples
    --------
    >>> from fastsoftmax import reliability
    >>> found = reliability([0, 1, 1, 1], [0.4, 0.4, 0.9, 0.9], n_bins=2)
    >>> found.fraction.tolist(), found.confidence.round(2).tolist()
    ([0.5, 1.0], [0.4, 0.9])
    """
    came_true, stated, event = _events(y, proba, classes)
    weight = _weights(sample_weight, len(stated))
    if not (isinstance(n_bins, int | np.integer) and n_bins >= 1):
        raise ValueError(f"n_bins must be a positive integer; got {shown(n_bins)}")
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy must be one of {', '.join(map(repr, STRATEGIES))}; got {shown(strategy)}")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie between 0 and 1; got {shown(level)}")
    borders = np.linspace(0.0, 1.0, n_bins + 1)
    if strategy == "quantile":
        borders[1:-1] = np.quantile(stated, borders[1:-1])
    bins = np.searchsorted(borders[1:-1], stated)  # a border belongs to the bin below it

    def total(each: Any) -> Vector:
        return np.bincount(bins, each, minlength=n_bins).astype(np.float64, copy=False)

    of_bins = total(weight)
    filled = np.flatnonzero(of_bins > 0.0)
    of_bins = of_bins[filled]
    fraction = total(weight * came_true)[filled] / of_bins
    rows = of_bins**2 / total(weight**2)[filled]
    lower, upper = _wilson(fraction, rows, level)
    edges = np.column_stack((borders[:-1], borders[1:]))[filled]
    return Reliability(
        total(weight * stated)[filled] / of_bins, fraction, lower, upper, of_bins, edges, event
    )


def expected_calibration_error(
    y: ArrayLike,
    proba: ArrayLike,
    *,
    classes: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    n_bins: int = 15,
    strategy: str = "uniform",
) -> float:
    """Return the expected calibration error: the mean of |fraction − mean probability| of a row's bin [1]_.

    Parameters are those of `reliability`, whose `by_chance` says how much of it probabilities that are right
    would have: with few rows to a bin, most.

    References
    ----------
    .. [1] M. P. Naeini, G. F. Cooper, M. Hauskrecht, "Obtaining well calibrated probabilities using Bayesian
       binning", AAAI 2015.

    Examples
    --------
    >>> from fastsoftmax import expected_calibration_error
    >>> round(expected_calibration_error([0, 1, 1, 1], [0.4, 0.4, 0.9, 0.9], n_bins=2), 3)
    0.1
    """
    found = reliability(
        y, proba, classes=classes, sample_weight=sample_weight, n_bins=n_bins, strategy=strategy
    )
    return found.expected_calibration_error


def _events(
    y: ArrayLike, proba: ArrayLike, classes: ArrayLike | None
) -> tuple[NDArray[np.bool_], Vector, str]:
    """Return whether each row's event occurred, its stated probability, and the event's name."""
    stated = np.asarray(proba, dtype=np.float64)
    if stated.ndim not in (1, 2) or stated.size == 0:
        raise ValueError(f"proba must be (n, K) or (n,); got shape {stated.shape}")
    if not (stated.min() >= 0.0 and stated.max() <= 1.0 + 1e-6):  # false for NaN as well
        raise ValueError(f"proba must lie in [0, 1]; got {stated.min()} to {stated.max()}")
    stated = np.minimum(stated, 1.0)
    labels = np.asarray(y)
    if labels.shape != stated.shape[:1]:
        raise ValueError(f"y must be ({len(stated)},), a label for each row of proba; got {labels.shape}")
    n_classes = 2 if stated.ndim == 1 else stated.shape[1]
    known = np.arange(n_classes) if classes is None else np.asarray(classes)
    if known.shape != (n_classes,):
        raise ValueError(f"classes must be ({n_classes},), a label for each column; got {known.shape}")
    unknown = np.setdiff1d(labels, known)
    if len(unknown):
        raise ValueError(f"y holds labels that are not among the classes: {shown(unknown[:5])}")
    if n_classes == 2:
        return labels == known[1], stated if stated.ndim == 1 else stated[:, 1], f"of class {known[1]}"
    best = stated.argmax(axis=1)
    return labels == known[best], stated[np.arange(len(stated)), best], "right"


def _weights(sample_weight: ArrayLike | None, n_rows: int) -> Vector:
    if sample_weight is None:
        return np.ones(n_rows)
    weight = np.asarray(sample_weight, dtype=np.float64)
    if weight.shape != (n_rows,) or not (np.isfinite(weight).all() and weight.min() >= 0.0 and weight.any()):
        raise ValueError(f"sample_weight must be ({n_rows},), finite, not negative and not all zero")
    return weight


def _wilson(fraction: Vector, rows: Vector, level: float) -> tuple[Vector, Vector]:
    """Return the ends of Wilson's intervals of fractions of so many rows."""
    z = float(-scipy.special.ndtri(0.5 * (1.0 - level)))
    centre = (fraction + z * z / (2.0 * rows)) / (1.0 + z * z / rows)
    reach = z * np.sqrt(fraction * (1.0 - fraction) / rows + (z / (2.0 * rows)) ** 2) / (1.0 + z * z / rows)
    # rounding: an interval of none, or of all, ends there
    return np.clip(centre - reach, 0.0, fraction), np.clip(centre + reach, fraction, 1.0)
