"""The parts that all pictures share: an empty figure, colours for classes, axes and their labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from fastsoftmax.contracts import Array

BLUE, GREY = "#1f5fa8", "#8a8a8a"
MAX_NAMES = 40  # more tick labels than this cannot be read


def require_matplotlib() -> None:
    """Raise ImportError if matplotlib is missing; called before long work, not after it.

    Raises
    ------
    ImportError
        matplotlib is not installed.

    Examples
    --------
    >>> require_matplotlib()
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ImportError('pictures need matplotlib: pip install "fastsoftmax[plot]"') from error


def new_figure(
    width: float, height: float, layout: Literal["constrained", "compressed"] = "constrained"
) -> Figure:
    """Return an empty figure that pyplot does not know of, in inches at 100 pixels each.

    The "compressed" layout is for axes of fixed aspect: the other would cut off their labels.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=100, layout=layout)
    figure.set_layout_engine(layout, w_pad=0.1, h_pad=0.1)
    return figure


def axes_for(
    ax: Axes | None, width: float, height: float, layout: Literal["constrained", "compressed"] = "constrained"
) -> tuple[Figure, Axes]:
    """Return given axes and their figure, or those of a new figure."""
    if ax is None:
        figure = new_figure(width, height, layout)
        return figure, figure.subplots()
    owner: Any = ax.figure
    return getattr(owner, "figure", owner), ax  # of a part of a figure, the whole


def colours(n_classes: int) -> NDArray[np.float64]:
    """Return (K, 3) colours: a palette made for categories as far as it goes, the rainbow beyond."""
    import matplotlib

    if n_classes <= 10:
        return np.array(matplotlib.colormaps["tab10"].colors[:n_classes])  # type: ignore[attr-defined]
    return matplotlib.colormaps["turbo"](np.linspace(0.02, 0.98, n_classes))[:, :3]


def tidy(axes: Axes, *, grid: bool = False) -> None:
    """Remove the upper and right sides of axes; with `grid`, put a faint grid behind what is drawn."""
    axes.spines[["top", "right"]].set_visible(False)
    if grid:
        axes.grid(color="#e4e4e4", linewidth=0.8)
        axes.set_axisbelow(True)


def set_ticks(
    axes: Axes, labels: Sequence[object] | Array, axis: Literal["x", "y"], rotated: bool = False
) -> None:
    """Label every tick, or, where they would overlap, every second, fifth, tenth, ..."""
    n_labels = len(labels)
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, n_labels) if n_labels / step <= MAX_NAMES)
    at = np.arange(0, n_labels, step)
    text = [str(labels[k]) for k in at.tolist()]
    long = max(map(len, text)) > 3
    rotation: dict[str, Any] = (
        {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if rotated and long else {}
    )
    size = 10 if len(text) <= 20 else 8
    (axes.set_xticks if axis == "x" else axes.set_yticks)(at, text, fontsize=size, **rotation)
