"""SoftmaxRegression, the scikit-learn estimator around the objective and the solvers."""

from fastsoftmax.estimator.path import PathPoint
from fastsoftmax.estimator.softmax_regression import SoftmaxRegression

__all__ = ["PathPoint", "SoftmaxRegression"]
