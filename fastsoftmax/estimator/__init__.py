"""SoftmaxRegression, the scikit-learn estimator around the objective and the solvers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastsoftmax.estimator import saving, saving_calibrated
from fastsoftmax.estimator.path import PathPoint
from fastsoftmax.estimator.softmax_regression import SoftmaxRegression
from fastsoftmax.persistence import container

if TYPE_CHECKING:
    import os

    from fastsoftmax.estimator.calibration import CalibratedClassifier

__all__ = ["PathPoint", "SoftmaxRegression", "load"]


def load(path: str | os.PathLike[str]) -> SoftmaxRegression | CalibratedClassifier:
    """Return the fitted model in a file that its `save` or `fastsoftmax fit --out` wrote.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    model : SoftmaxRegression or CalibratedClassifier
        Of the class whose `save` wrote the file.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is no model file, is damaged, or was written by a later version.

    Examples
    --------
    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "model.safetensors")
    >>> SoftmaxRegression().fit([[0.0], [1.0], [2.0], [3.0]], ["a", "a", "b", "b"]).save(path)
    >>> load(path).predict([[0.5], [2.5]]).tolist()
    ['a', 'b']
    """
    _, header = container.load(path)
    if saving.kind_in(header) == saving_calibrated.KIND:
        from fastsoftmax.estimator.calibration import CalibratedClassifier

        return CalibratedClassifier.load(path)
    return SoftmaxRegression.load(path)
