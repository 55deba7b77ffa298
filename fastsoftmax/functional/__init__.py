"""Functions on logits: drop-ins for SciPy's softmax family and PyTorch's cross-entropies, on NumPy arrays."""

from fastsoftmax.functional.calibration_error import expected_calibration_error, reliability
from fastsoftmax.functional.cross_entropies import (
    cross_entropy,
    cross_entropy_value_and_grad,
    sigmoid_cross_entropy,
    sigmoid_cross_entropy_value_and_grad,
)
from fastsoftmax.functional.linear import (
    LinearGrads,
    linear_cross_entropy,
    linear_cross_entropy_value_and_grad,
)
from fastsoftmax.functional.softmaxes import log_softmax, logsumexp, softmax

__all__ = [
    "LinearGrads",
    "cross_entropy",
    "cross_entropy_value_and_grad",
    "expected_calibration_error",
    "linear_cross_entropy",
    "linear_cross_entropy_value_and_grad",
    "log_softmax",
    "logsumexp",
    "reliability",
    "sigmoid_cross_entropy",
    "sigmoid_cross_entropy_value_and_grad",
    "softmax",
]
