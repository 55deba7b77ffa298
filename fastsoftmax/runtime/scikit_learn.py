"""scikit-learn's private names: the one module that imports them.

The estimator takes them from here; what is public in scikit-learn is imported where it is needed. What is
relied on of each stands in `runtime.self_test`, which says what a new version has changed.
"""

from __future__ import annotations

import importlib.util
import inspect
from typing import TYPE_CHECKING, Any

import sklearn

from fastsoftmax.runtime import self_test

if TYPE_CHECKING:
    from collections.abc import Callable

# Before the names are imported: a warning says more than the ImportError that may follow.
self_test.warn_if_newer("scikit-learn", sklearn.__version__)

from sklearn.base import _fit_context as _fit_context  # noqa: E402
from sklearn.linear_model._base import LinearClassifierMixin as LinearClassifierMixin  # noqa: E402
from sklearn.linear_model._base import SparseCoefMixin as SparseCoefMixin  # noqa: E402
from sklearn.utils._param_validation import Hidden as Hidden  # noqa: E402
from sklearn.utils._param_validation import Interval as Interval  # noqa: E402
from sklearn.utils._param_validation import StrOptions as StrOptions  # noqa: E402

HAS_CALLBACKS = importlib.util.find_spec("sklearn.callback") is not None  # scikit-learn from 1.9 on
if HAS_CALLBACKS:
    from sklearn.callback import CallbackSupportMixin as CallbackSupportMixin
else:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing: there are no callbacks to support."""


def naming_labels(scorer: Callable[..., float], classes: Any) -> Callable[..., float]:
    """Return the scorer with its metric told all classes, if it asks for `labels`: a fold may lack some.

    Of two classes the second is the positive one. A scorer that `make_scorer` has not made is returned as
    it is.
    """
    from sklearn.metrics import make_scorer

    made: Any = scorer
    metric = getattr(made, "_score_func", None)
    if metric is None:
        return scorer
    asked = inspect.signature(metric).parameters
    if "labels" not in asked:
        return scorer
    told: dict[str, Any] = {"labels": classes}
    if len(classes) == 2 and "pos_label" in asked:
        told["pos_label"] = classes[1]
    named: Callable[..., float] = make_scorer(
        metric,
        greater_is_better=made._sign == 1,
        response_method=made._response_method,
        **(told | made._kwargs),
    )
    return named
