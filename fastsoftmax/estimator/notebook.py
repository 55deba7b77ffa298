"""What a notebook shows of a model: scikit-learn's diagram, and how far the fit is from the optimum."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# Colours that are read on a light and on a dark page: text and lines are the page's own.
_STYLE = "border-collapse:collapse;margin:.4em 0 0;font-size:small"
_CELL = "padding:.1em 1em .1em 0;text-align:left;vertical-align:top"


class NotebookView:
    """The mixin of SoftmaxRegression that adds its certificate to scikit-learn's diagram.

    An unfitted model, and one whose `display` configuration is "text", is shown as any estimator is.
    """

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        bundle: dict[str, str] = super()._repr_mimebundle_(**kwargs)  # type: ignore[misc]
        if "text/html" in bundle:
            bundle["text/html"] += table(self)
        return bundle

    @property
    def _repr_html_(self) -> Callable[[], str]:
        diagram: Callable[[], str] = super()._repr_html_  # type: ignore[misc]  # AttributeError if shown as text
        return lambda: diagram() + table(self)


def facts(model: Any) -> list[tuple[str, str]]:
    """Return what is said of a fitted model, names and values; nothing of one that is not fitted."""
    if not hasattr(model, "history_"):
        return []
    last, steps = model.history_[-1], int(model.n_iter_[0])
    n_outputs, n_features = model.coef_.shape
    said = [
        ("Objective", f"{model.objective_:.9g} nats"),
        ("Distance from the optimum", distance(model)),
        ("Solver", model.solver_),
        ("Cost", f"{counted(steps, 'step')}, {counted(last.passes, 'pass')}, {last.seconds:.3g} s"),
        ("Model", f"{counted(len(model.classes_), 'class')}, {counted(n_features, 'feature')}"),
    ]
    if model.l1_ratio:
        n_used = int((model.coef_ != 0).sum())
        said.append(("Not zero", f"{n_used:,} of {n_outputs * n_features:,} coefficients"))
    return said


def distance(model: Any) -> str:
    """Return how far F at the coefficients may be above its minimum, as text."""
    if model.duality_gap_ is None:
        return "not known: no bound without a penalty on every coefficient"
    gap = model.duality_gap_ / max(abs(model.objective_), 1e-300)
    word = "certified" if gap <= model.tol else "above tol"
    return f"at most {gap:.2g} of the objective ({word}, tol = {model.tol:g})"


def counted(number: int, of: str) -> str:
    """Return a number of things as text.

    Examples
    --------
    >>> counted(1, "pass"), counted(1200, "pass")
    ('1 pass', '1,200 passes')
    """
    plural = "" if number == 1 else "es" if of.endswith("s") else "s"
    return f"{number:,} {of}{plural}"


def table(model: Any) -> str:
    """Return the facts of a fitted model as an HTML table; an empty text if it is not fitted."""
    lines = "".join(
        f'<tr><th scope="row" style="{_CELL};font-weight:600">{escape(name)}</th>'
        f'<td style="{_CELL}">{escape(value)}</td></tr>'
        for name, value in facts(model)
    )
    return f'<table style="{_STYLE}" class="fastsoftmax-certificate">{lines}</table>' if lines else ""
