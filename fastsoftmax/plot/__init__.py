"""Pictures of a fit: its path to the optimum, its regions, its predictions, its coefficients.

Each function returns a `matplotlib.figure.Figure` that pyplot does not know: no window is opened, no current
figure is changed, and `figure.savefig(path)` works with no display. matplotlib is imported on first use.
"""

from fastsoftmax.plot.canvas import require_matplotlib
from fastsoftmax.plot.coef_heatmap import coefficients
from fastsoftmax.plot.cross_validation import coefficient_path, cross_validation, cv_scores
from fastsoftmax.plot.fit_overview import overview, square_side
from fastsoftmax.plot.history import loss_curve
from fastsoftmax.plot.predictions import confusion, reliability
from fastsoftmax.plot.regions import boundary_and_loss, decision_regions

__all__ = [
    "boundary_and_loss",
    "coefficient_path",
    "coefficients",
    "confusion",
    "cross_validation",
    "cv_scores",
    "decision_regions",
    "loss_curve",
    "overview",
    "reliability",
    "require_matplotlib",
    "square_side",
]
