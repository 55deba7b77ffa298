"""scikit-learn's private names: the one module that imports them.

The estimator takes them from here; what is public in scikit-learn is imported where it is needed. What is
relied on of each stands in `runtime.self_test`, which says what a new version has changed.
"""

from __future__ import annotations

import importlib.util

import sklearn

from fastsoftmax.runtime import self_test

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
