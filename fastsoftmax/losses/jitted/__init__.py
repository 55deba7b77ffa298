"""Row functions of the package's losses, which are registered as this is imported. Imports Numba."""

from fastsoftmax.losses.jitted import sigmoid, softmax

__all__ = ["sigmoid", "softmax"]
