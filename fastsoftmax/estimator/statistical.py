"""Statistics on a fitted model: inference on its coefficients, and the calibration of its probabilities."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from fastsoftmax.contracts import MatrixLike
    from fastsoftmax.estimator.calibration import CalibratedClassifier
    from fastsoftmax.estimator.inference import Inference


class Statistics:
    """The mixin of SoftmaxRegression with `inference` and `calibrate`."""

    def inference(
        self,
        X: MatrixLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        kind: str = "observed",
        groups: ArrayLike | None = None,
        base: Any = None,
        covariance: str = "full",
        offset: ArrayLike | None = None,
    ) -> Inference:
        """Return standard errors, tests and intervals of the coefficients, on the rows of the fit.

        Parameters
        ----------
        X : array_like or SciPy sparse, (n, d)
        y : array_like, (n,) labels, or (n, K) probabilities (multi-label: labels in [0, 1])
        sample_weight : array_like (n,), optional
            Those of the fit; `class_weight` is multiplied in as there.
        kind : {"observed", "robust", "cluster"}
            The covariance. With the Hessian H of −loglik and the rows' scores sᵢ = −wᵢ ∇ℓᵢ:
            "observed" is H⁻¹, as MNLogit's and Logit's default and R's multinom have it;
            "robust" is H⁻¹ (Σ sᵢ sᵢᵀ) H⁻¹, statsmodels' cov_type="HC0", without a small-sample factor;
            "cluster" is the same with the scores' sums by group, times G/(G − 1) · (n − 1)/(n − p) for G
            groups, n rows of positive weight and p parameters, statsmodels' cov_type="cluster".
        groups : array_like (n,), optional
            The group of each row, for "cluster".
        base : label, optional
            The class that others are compared with; by default the first of `classes_`, as in MNLogit.
        covariance : {"full", "diagonal"}
            "diagonal" keeps the variances alone, for many coefficients: standard errors, tests and intervals
            are there, `cov` and `margins` are not.
        offset : array_like (n, K), or (n,) of one logit, optional
            That of the fit. There are no `margins` of a model with an offset.

        Returns
        -------
        inference : Inference
            K − 1 contrasts with the base; one for two classes (Logit), K for independent labels, whose
            standard errors are those of K Logits. `summary()` is the table.

        Raises
        ------
        ValueError
            If the information is singular: the message names the columns. For models with absolute values in
            the penalty or `multi_class="ovr"`; for a class without rows; if matrices do not fit in memory.
        TypeError
            For rows that are elsewhere or on a GPU.

        Warns
        -----
        UserWarning
            If less than a hundredth of a row tells of a coefficient: of classes that a column separates.
        ConvergenceWarning
            If the fit ended more than 0.05 standard errors from the maximum. `tol` is a relative error of the
            mean loss: many rows ask for a smaller one, which the message gives.

        Notes
        -----
        Weights in "observed" are frequencies: a row of weight 2 is two rows, and `nobs` is Σ w. In "robust"
        and "cluster" they are sampling weights: scores are weighted, and their products by w². For repeated
        rows give these as rows; a row of counts is a group of its own there.

        Under a penalty (C finite) H is that of −loglik plus the penalty, H + P: its inverse is the
        covariance of a normal prior's posterior near its mode. The sandwich is that of the estimates around
        their mean, which is biased towards zero. p-values and intervals do not know of the bias. `loglik` is
        without the penalty; `aic` and `bic` count tr (H + P)⁻¹ H parameters. For tests fit with C=inf.

        One reading of X, in float64 and on the CPU: n K (K − 1) (d + 1)² / 2 flops for the Hessian
        (n K (d + 1)² of independent labels), and for "robust" n p² more, G p² for "cluster", of p
        coefficients. `margins` takes one more. Held are one matrix (p, p), or with covariance="diagonal" half
        of one; the sums that it is made of, a quarter to three quarters of a matrix; and for "robust" and
        "cluster" one matrix more. Of independent labels and "observed" they are K blocks (d + 1, d + 1),
        unless `cov` is asked for. Where they take more memory than is free, a ValueError says how much before
        anything is computed. Rows of narrow dtypes are widened, and sparse ones made dense, some at a time.

        References
        ----------
        .. [1] H. White, "Maximum likelihood estimation of misspecified models", Econometrica 50 (1982).

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from fastsoftmax import SoftmaxRegression
        >>> X, y = load_iris(return_X_y=True)
        >>> of_two = SoftmaxRegression(C=float("inf"), tol=1e-10).fit(X[50:, 2:], y[50:])
        >>> of_two.inference(X[50:, 2:], y[50:]).standard_errors.round(2)
        array([[13.61,  2.31,  3.76]])
        """
        from fastsoftmax.estimator.inferring import infer

        return infer(self, X, y, sample_weight, kind, groups, base, covariance, offset)

    def calibrate(
        self,
        X: MatrixLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        method: str = "temperature",
        C: float = math.inf,
    ) -> CalibratedClassifier:
        """Return a classifier with this model's logits, rescaled so that its probabilities come true.

        Parameters
        ----------
        X : array_like or SciPy sparse, (n, d)
            Rows that the model was not fitted on.
        y : array_like (n,) labels, or (n, K) probabilities
        sample_weight : array_like (n,), optional
        method : {"temperature", "vector", "matrix"}
            One temperature; a slope and a shift for each class; or a whole matrix and shifts.
        C : float, default inf
            Inverse strength of the penalty of "matrix".

        Returns
        -------
        calibrated : CalibratedClassifier
            Fitted, and an estimator of scikit-learn; this model is not copied, and stays as it is.

        Raises
        ------
        ValueError
            For multi-label models, other options, or labels that are not among `classes_`.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from fastsoftmax import SoftmaxRegression
        >>> X, y = load_iris(return_X_y=True)
        >>> model = SoftmaxRegression(C=1e-3).fit(X[::2], y[::2])  # too little sure of itself
        >>> bool(model.calibrate(X[1::2], y[1::2]).temperature_ < 1.0)
        True
        """
        from sklearn.frozen import FrozenEstimator

        from fastsoftmax.estimator.calibration import CalibratedClassifier

        return CalibratedClassifier(FrozenEstimator(self), method=method, C=C).fit(X, y, sample_weight)
