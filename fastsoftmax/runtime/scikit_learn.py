"""scikit-learn's private names: the one module that imports them.

The estimator takes them from here; what is public in scikit-learn is imported where it is needed. What is
relied on of each stands in `runtime.self_test`, which says what a new version has changed.
"""

from __future__ import annotations

import importlib.util
import inspect
from typing import TYPE_CHECKING, Any

import numpy as np
import sklearn

from fastsoftmax.runtime import self_test

if TYPE_CHECKING:
    from collections.abc import Callable

# Before the names are imported: a warning says more than the ImportError that may follow.
self_test.warn_if_newer("scikit-learn", sklearn.__version__)

from sklearn.base import _fit_context as _fit_context  # noqa: E402
from sklearn.linear_model._base import LinearClassifierMixin as LinearClassifierMixin  # noqa: E402
from sklearn.linear_model._base import SparseCoefMixin as SparseCoefMixin  # noqa: E402
from sklearn.utils._array_api import get_namespace_and_device  # noqa: E402
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


def dispatched(X: Any, result: Any) -> Any:
    """Return NumPy's results for X as arrays of X's namespace and device, if `array_api_dispatch` is on.

    As scikit-learn's own classifiers do; labels of text, which no other library holds, stay NumPy's. Results
    for X that is no array of another library, and those that are in X's library already, are returned as
    they are, as all are without `array_api_dispatch`.
    """
    if isinstance(result, tuple):
        return tuple(dispatched(X, each) for each in result)
    if isinstance(X, np.ndarray) or not hasattr(X, "__dlpack__") or not isinstance(result, np.ndarray):
        return result
    if result.dtype.kind not in "biuf" or not sklearn.get_config()["array_api_dispatch"]:
        return result
    xp, _, device = get_namespace_and_device(X)
    return xp.asarray(result, device=device)
