"""scikit-learn's logistic regressions, fitted by this package: for programs that ask what class a model is.

`LogisticRegression` and `LogisticRegressionCV` are subclasses of scikit-learn's classes of these names, and
of SoftmaxRegression and SoftmaxRegressionCV, whose parameters, methods and attributes they have: `isinstance`
tells that they are what they replace. Nothing of scikit-learn's fit is left in them.
"""

from __future__ import annotations

import inspect
from typing import Any

from sklearn import linear_model

from fastsoftmax.estimator.cross_validation import SoftmaxRegressionCV
from fastsoftmax.estimator.cv_grid import DEFAULTS, WARN
from fastsoftmax.estimator.softmax_regression import SoftmaxRegression
from fastsoftmax.runtime.scikit_learn import HAS_CALLBACKS, CallbackSupportMixin

__all__ = ["LogisticRegression", "LogisticRegressionCV"]


class LogisticRegression(SoftmaxRegression, linear_model.LogisticRegression):
    """SoftmaxRegression, as a subclass of scikit-learn's LogisticRegression.

    For programs that ask `isinstance(model, LogisticRegression)`, or look for a class of that name.

    Examples
    --------
    >>> import sklearn.linear_model
    >>> from fastsoftmax.sklearn import LogisticRegression
    >>> model = LogisticRegression().fit([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1])
    >>> isinstance(model, sklearn.linear_model.LogisticRegression), model.duality_gap_ < 1e-5
    (True, True)
    """

    if HAS_CALLBACKS:
        # scikit-learn's own warns of solvers that call none.
        set_callbacks = CallbackSupportMixin.set_callbacks


class LogisticRegressionCV(SoftmaxRegressionCV, linear_model.LogisticRegressionCV):
    """SoftmaxRegressionCV, as a subclass of scikit-learn's LogisticRegressionCV.

    Its defaults of `l1_ratios`, `scoring` and `use_legacy_attributes` are scikit-learn's, with the warnings
    of what changes in 1.10 and 1.11.

    Examples
    --------
    >>> import sklearn.linear_model
    >>> from fastsoftmax.sklearn import LogisticRegressionCV
    >>> model = LogisticRegressionCV(l1_ratios=(1.0,), scoring="accuracy", use_legacy_attributes=False)
    >>> isinstance(model, sklearn.linear_model.LogisticRegressionCV)
    True
    """

    warns_of_none = True

    def __init__(
        self,
        *,
        l1_ratios: Any = WARN,
        scoring: Any = WARN,
        use_legacy_attributes: bool | str = WARN,
        **others: Any,
    ) -> None:
        options = {"l1_ratios": l1_ratios, "scoring": scoring, "use_legacy_attributes": use_legacy_attributes}
        super().__init__(**options, **others)

    # For `get_params`, `clone` and help: the parameters of SoftmaxRegressionCV.
    __init__.__signature__ = inspect.Signature([  # type: ignore[attr-defined]
        inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD),
        *(
            each.replace(default=WARN) if name in DEFAULTS else each
            for name, each in inspect.signature(SoftmaxRegressionCV).parameters.items()
        ),
    ])  # fmt: skip
