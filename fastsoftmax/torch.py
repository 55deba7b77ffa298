"""PyTorch's softmax family and cross-entropies, computed here: functions on tensors, and modules."""

from fastsoftmax.backends.torch import (
    CrossEntropyLoss,
    LinearCrossEntropyLoss,
    cross_entropy,
    linear_cross_entropy,
    log_softmax,
    logsumexp,
    sigmoid_cross_entropy,
    softmax,
)

__all__ = [
    "CrossEntropyLoss",
    "LinearCrossEntropyLoss",
    "cross_entropy",
    "linear_cross_entropy",
    "log_softmax",
    "logsumexp",
    "sigmoid_cross_entropy",
    "softmax",
]
