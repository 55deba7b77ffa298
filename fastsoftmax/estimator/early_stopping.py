"""Early stopping of a fit by its score on rows that it does not see."""

from __future__ import annotations

from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import get_scorer

from fastsoftmax.runtime.scikit_learn import naming_labels

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    from fastsoftmax.contracts import MatrixLike, Record


class EarlyStopping:
    """A callback that ends a fit when the score of held-out rows has stopped rising.

    Parameters
    ----------
    X : array_like or SciPy sparse, (n, d)
        Held-out rows.
    y : array_like (n,), or (n, K) for the multi-label model
        Their labels.
    sample_weight : array_like (n,), optional
        Weights of the rows, given to the scorer.
    patience : int, default 5
        So many steps in a row without a better score end the fit.
    min_delta : float, default 0.0
        A score counts as better if it is above the best so far by more than this.
    scoring : str or callable, default "neg_log_loss"
        As scikit-learn's `get_scorer` takes it: greater is better. The default is of one label a row; the
        multi-label model needs another, such as "accuracy" (of whole rows) or "roc_auc".

    Attributes
    ----------
    scores_ : list of float
        The score at the start and after each step of the last fit.
    best_score_ : float
    best_step_ : int
        The step with the best score, counted from 0, which is the start.
    best_model_ : SoftmaxRegression
        The model of that step, with the gap that was known there. The estimator that is fitted holds the last
        step's parameters and their certificate.

    Raises
    ------
    ValueError
        If `patience` is no whole number above 0, or `min_delta` is negative.

    Notes
    -----
    The steps of these solvers are not those of gradient descent: they come near the optimum of the training
    rows within a few steps, and a larger penalty (a smaller `C`, chosen by `SoftmaxRegressionCV`) is the
    better way to a good score on other rows. Each step costs a scoring of the held-out rows and a copy of the
    coefficients.

    A fit that goes on from a checkpoint is scored from there: steps are counted from that point, and what was
    scored before is forgotten.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from fastsoftmax import EarlyStopping, SoftmaxRegression
    >>> X, y = load_wine(return_X_y=True)
    >>> stopping = EarlyStopping(X[::2], y[::2], patience=3)
    >>> model = SoftmaxRegression(C=1e4, callbacks=[stopping]).fit(X[1::2], y[1::2])
    >>> stopping.best_step_ <= model.n_iter_[0]
    True
    """

    wants_model = True

    def __init__(
        self,
        X: MatrixLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        patience: int = 5,
        min_delta: float = 0.0,
        scoring: str | Callable[..., float] = "neg_log_loss",
    ) -> None:
        if not isinstance(patience, Integral) or isinstance(patience, bool) or patience < 1:
            raise ValueError(f"patience must be a whole number above 0; got {patience!r}")
        if not isinstance(min_delta, Real) or not min_delta >= 0:
            raise ValueError(f"min_delta must be a number from 0 on; got {min_delta!r}")
        self._rows: tuple[Any, Any] = X, y
        self._weights: dict[str, Any] = {}
        if sample_weight is not None:
            self._weights["sample_weight"] = np.asarray(sample_weight)
        self._patience: int = int(patience)
        self._min_delta: float = float(min_delta)
        self._scoring: Any = scoring
        self._begin()

    def _begin(self) -> None:
        """Forget what an earlier fit has left."""
        self.scores_: list[float] = []
        self.best_score_, self.best_step_ = -np.inf, -1
        self.best_model_: Any = None

    def __call__(self, record: Record, model: Any) -> bool:
        """Score the model of a step; return whether the fit is to end there."""
        step = int(model.n_iter_[0])
        if step == 0:
            self._begin()
        # The classes of the model, of which some may have no row here.
        scorer = naming_labels(get_scorer(self._scoring), model.classes_)
        score = float(scorer(model, *self._rows, **self._weights))
        self.scores_.append(score)
        if self.best_model_ is None or score > self.best_score_ + self._min_delta:
            self.best_score_, self.best_step_, self.best_model_ = score, step, model
        return step - self.best_step_ >= self._patience
