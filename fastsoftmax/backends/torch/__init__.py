"""The softmax family and the cross-entropies as functions and modules of PyTorch."""

from fastsoftmax.backends.torch.cross_entropies import cross_entropy, sigmoid_cross_entropy
from fastsoftmax.backends.torch.linear import linear_cross_entropy
from fastsoftmax.backends.torch.modules import CrossEntropyLoss, LinearCrossEntropyLoss
from fastsoftmax.backends.torch.softmaxes import log_softmax, logsumexp, softmax

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
