"""Statistical inference on a fitted model: standard errors, tests, intervals, information criteria."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.special

from fastsoftmax.estimator import inference_table, margins
from fastsoftmax.estimator.normal import intervals, p_values

if TYPE_CHECKING:
    from fastsoftmax.contracts import Array, Vector
    from fastsoftmax.estimator.covariances import Found
    from fastsoftmax.estimator.information import Fitted


class LikelihoodRatio(NamedTuple):
    """A likelihood-ratio test: twice the difference of log-likelihoods, and its χ² probability."""

    statistic: float
    df: int
    p_value: float


class Inference:
    """Estimates of a fitted model with their covariance, from `SoftmaxRegression.inference`.

    Rows of `params` are contrasts: log odds of a class against the base class, that of `classes`. Columns are
    `terms`: the constant first, if the model has one, then the features. For independent labels
    (loss="sigmoid") a row is the log odds of a label, and there is no base.

    Attributes
    ----------
    params, standard_errors, z, p_values : ndarray (m, q)
        p-values are two-sided, by the normal distribution.
    cov : ndarray (m q, m q)
        In C order of `params`; as MNLogit orders its own. Not with covariance="diagonal".
    cov_type : {"observed", "robust", "cluster"}
    classes : ndarray (m,)
    base : label or None
    terms : list of str
    loglik, loglik_null : float
        Σ wᵢ Σ tₖ log pₖ in nats, without the penalty; and that of constants only, with the offset if any.
    nobs : float
        Σ wᵢ.
    n_params : int
        m q, the number of coefficients.
    df : float
        The degrees of freedom that `aic` and `bic` count: `n_params`; under a penalty tr (H + P)⁻¹ H.
    aic, bic, pseudo_r2 : float
        pseudo_r2 is McFadden's, 1 − loglik / loglik_null.
    note : str
        What the covariance and the weights are, in a sentence.
    distance : float
        How far `params` are from the maximum, in standard errors, at most: by a Newton step.

    Notes
    -----
    Holds a reference to X for `margins`.
    """

    def __init__(
        self,
        fitted: Fitted,
        *,
        cov_type: str,
        classes: Array,
        base: Any,
        all_classes: Array,
        terms: list[str],
        sign: float,
        covariance: Found,
        loglik: float,
        loglik_null: float,
        note: str,
    ) -> None:
        self._fitted, self._covariance = fitted, covariance
        self.cov_type, self.classes, self.base, self.terms = cov_type, classes, base, terms
        self.params, self._sign = sign * fitted.contrasts, sign
        self.loglik, self.loglik_null = loglik, loglik_null
        self.df, self.distance = covariance.df, covariance.distance
        self.nobs, self.n_params = fitted.total_weight, self.params.size
        self._effect_classes = all_classes if fitted.exclusive else classes
        self.note = note

    @cached_property
    def cov(self) -> Vector:
        """The covariance of the parameters. Raises ValueError if its diagonal alone was kept."""
        blocks = self._covariance.matrix
        if blocks is None:
            raise ValueError(
                "the diagonal of the covariance was kept alone: inference(…, covariance='full') keeps all"
            )
        if len(blocks) == 1:
            whole: Vector = blocks[0]
            return whole
        size = blocks.shape[1]
        whole = np.zeros((self.n_params, self.n_params))
        for b, block in enumerate(blocks):
            part = slice(b * size, (b + 1) * size)
            whole[part, part] = block
        return whole

    @cached_property
    def standard_errors(self) -> Vector:
        """The square roots of the covariance's diagonal, (m, q)."""
        return np.sqrt(self._covariance.variances)

    @property
    def z(self) -> Vector:
        """The estimates in standard errors, (m, q)."""
        return self.params / self.standard_errors

    @property
    def p_values(self) -> Vector:
        """The two-sided p-values of a parameter of zero, (m, q)."""
        return p_values(self.z)

    @property
    def aic(self) -> float:
        """Akaike's criterion, −2 loglik + 2 df."""
        return -2.0 * self.loglik + 2.0 * self.df

    @property
    def bic(self) -> float:
        """Schwarz's criterion, −2 loglik + log(nobs) df."""
        return -2.0 * self.loglik + math.log(self.nobs) * self.df

    @property
    def pseudo_r2(self) -> float:
        """McFadden's R², 1 − loglik / loglik_null."""
        return 1.0 - self.loglik / self.loglik_null

    def conf_int(self, level: float = 0.95) -> Vector:
        """Return intervals (m, q, 2) of that level by the normal distribution.

        Raises ValueError for a level that does not lie between 0 and 1.
        """
        return intervals(self.params, self.standard_errors, level)

    @property
    def has_lr_test(self) -> bool:
        """Whether `lr_test` has a test against the model of constants only."""
        return self._fitted.penalty.is_none and self._fitted.constant and self.params.shape[1] > 1

    def lr_test(self, restricted: Inference | None = None) -> LikelihoodRatio:
        """Return the likelihood-ratio test of this model against one that it holds as a special case.

        Parameters
        ----------
        restricted : Inference, optional
            Of fewer features, on the same rows; by default the model of constants only.

        Raises
        ------
        ValueError
            Under a penalty, whose estimates do not maximise the likelihood; for a model that is not smaller,
            or of other rows; without constants and `restricted`.
        """
        if not self._fitted.penalty.is_none:
            raise ValueError("under a penalty there is no likelihood-ratio test: give C=inf")
        loglik, n_params = self.loglik_null, len(self.params)
        if restricted is not None:
            loglik, n_params = restricted.loglik, restricted.n_params
            if restricted.nobs != self.nobs or not restricted._fitted.penalty.is_none:
                raise ValueError("restricted must be of the same rows and weights, and without a penalty")
            ours, others = self._fitted.offset, restricted._fitted.offset
            if ours is not others and (ours is None or others is None or not np.array_equal(ours, others)):
                raise ValueError("restricted must have the same offset")
        elif not self._fitted.constant:
            raise ValueError("without intercepts constants are no special case: give a restricted model")
        df = self.n_params - n_params
        if df < 1:
            raise ValueError(f"restricted must have fewer than {self.n_params} parameters; got {n_params}")
        statistic = max(0.0, 2.0 * (self.loglik - loglik))
        return LikelihoodRatio(statistic, df, float(scipy.special.chdtrc(df, statistic)))

    def margins(self) -> margins.Margins:
        """Return average marginal effects with delta-method errors, by this covariance. A reading of X.

        Every feature is taken to be continuous: the effect is the mean of a derivative. Raises ValueError if
        the diagonal of the covariance was kept alone, and of a model with an offset.
        """
        if self._fitted.offset is not None:
            raise ValueError("there are no marginal effects of a model with an offset")
        cov, features = self.cov, self.terms[self._fitted.constant :]
        found = margins.of(self._fitted, cov, self._effect_classes, features)
        return found._replace(effects=self._sign * found.effects)

    def to_frame(self, level: float = 0.95) -> Any:
        """Return a pandas frame: a row a class and term; estimate, standard error, z, p-value, interval."""
        return inference_table.frame(self, self.params, self.classes, self.terms, "coef", level)

    def summary(self, level: float = 0.95) -> str:
        """Return the table as text: the fit, and the coefficients of each class."""
        return inference_table.text(self, level)

    def __repr__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        return inference_table.html(self)
