"""Softmax regression and the softmax cross-entropy family on NumPy data.

Names are loaded on first use: importing the package imports neither Numba nor SciPy nor scikit-learn,
compiles nothing, starts no thread and writes no environment variable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastsoftmax.runtime import lazy_imports

__version__ = "0.2.0"

_MODULE_OF = {
    "C_min": "estimator.c_min",
    "CalibratedClassifier": "estimator.calibration",
    "DeviceUnavailable": "contracts",
    "EarlyStopping": "estimator.early_stopping",
    "SoftmaxObjective": "objective",
    "SoftmaxRegression": "estimator",
    "SoftmaxRegressionCV": "estimator.cross_validation",
    "cross_entropy": "functional",
    "cross_entropy_value_and_grad": "functional",
    "expected_calibration_error": "functional",
    "fit_on_worker": "estimator.on_worker",
    "kernels_info": "runtime.library",
    "linear_cross_entropy": "functional",
    "linear_cross_entropy_value_and_grad": "functional",
    "load": "estimator",
    "log_softmax": "functional",
    "logsumexp": "functional",
    "on_workers": "data.dask",
    "open_rows": "data.blocks.opening",
    "reliability": "functional",
    "rows_from": "data.blocks.opening",
    "set_executor": "runtime.executor",
    "sigmoid_cross_entropy": "functional",
    "sigmoid_cross_entropy_value_and_grad": "functional",
    "softmax": "functional",
}

__all__ = [
    "C_min",
    "CalibratedClassifier",
    "DeviceUnavailable",
    "EarlyStopping",
    "SoftmaxObjective",
    "SoftmaxRegression",
    "SoftmaxRegressionCV",
    "__version__",
    "cross_entropy",
    "cross_entropy_value_and_grad",
    "expected_calibration_error",
    "fit_on_worker",
    "kernels_info",
    "linear_cross_entropy",
    "linear_cross_entropy_value_and_grad",
    "load",
    "log_softmax",
    "logsumexp",
    "on_workers",
    "open_rows",
    "reliability",
    "rows_from",
    "set_executor",
    "sigmoid_cross_entropy",
    "sigmoid_cross_entropy_value_and_grad",
    "softmax",
]

# They import other libraries, so that neither `dir()` nor `from fastsoftmax import *` names them.
_MODULES = ("boosting", "torch")

if TYPE_CHECKING:
    from fastsoftmax.contracts import DeviceUnavailable
    from fastsoftmax.data.blocks.opening import open_rows, rows_from
    from fastsoftmax.data.dask import on_workers
    from fastsoftmax.estimator import SoftmaxRegression, load
    from fastsoftmax.estimator.c_min import C_min
    from fastsoftmax.estimator.calibration import CalibratedClassifier
    from fastsoftmax.estimator.cross_validation import SoftmaxRegressionCV
    from fastsoftmax.estimator.early_stopping import EarlyStopping
    from fastsoftmax.estimator.on_worker import fit_on_worker
    from fastsoftmax.functional import (
        cross_entropy,
        cross_entropy_value_and_grad,
        expected_calibration_error,
        linear_cross_entropy,
        linear_cross_entropy_value_and_grad,
        log_softmax,
        logsumexp,
        reliability,
        sigmoid_cross_entropy,
        sigmoid_cross_entropy_value_and_grad,
        softmax,
    )
    from fastsoftmax.objective import SoftmaxObjective
    from fastsoftmax.runtime.executor import set_executor
    from fastsoftmax.runtime.library import kernels_info


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return lazy_imports.module(f"{__name__}.{name}")
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(lazy_imports.module(f"{__name__}.{module}"), name)
    globals()[name] = value  # the next access finds it without calling this
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
