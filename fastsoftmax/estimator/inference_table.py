"""The table of an inference: a frame, text for a terminal, HTML for a notebook."""

from __future__ import annotations

import html as markup
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastsoftmax.contracts import Array, Vector
    from fastsoftmax.estimator.inference import Inference

MAX_LINES = 400  # of a table in a notebook or on a terminal; `to_frame` holds all


def frame(found: Any, estimates: Vector, classes: Array, terms: list[str], name: str, level: float) -> Any:
    """Return a pandas frame with a row for each class and term, in the order of the covariance.

    Raises ImportError if pandas is not installed.
    """
    import pandas as pd

    interval = found.conf_int(level)
    index = pd.MultiIndex.from_product([classes.tolist(), terms], names=["class", "term"])
    columns = {
        name: estimates, "std_error": found.standard_errors, "z": found.z, "p_value": found.p_values,
        "lower": interval[..., 0], "upper": interval[..., 1],
    }  # fmt: skip
    return pd.DataFrame({key: column.ravel() for key, column in columns.items()}, index=index)


def facts(found: Inference) -> list[tuple[str, str]]:
    """Return what is said above the coefficients: names and values."""
    said = [
        ("Observations", f"{found.nobs:,.10g}"),
        ("Parameters", f"{found.n_params:,}"),
        ("Log-likelihood", f"{found.loglik:,.6g}"),
        ("of constants only", f"{found.loglik_null:,.6g}"),
        ("Pseudo R²", f"{found.pseudo_r2:.4f}"),
        ("AIC", f"{found.aic:,.6g}"),
        ("BIC", f"{found.bic:,.6g}"),
        ("Covariance", found.cov_type),
    ]
    if found.has_lr_test:
        test = found.lr_test()
        said.append((f"LR χ²({test.df})", f"{test.statistic:,.6g}, p {probability(test.p_value)}"))
    if found.df != found.n_params:
        said.append(("Effective parameters", f"{found.df:,.6g}"))
    return said


def headings(level: float) -> list[str]:
    """Return the names of the columns."""
    side = 50.0 * (1.0 - level)
    return ["coef", "std error", "z", "p", f"{side:.4g} %", f"{100.0 - side:.4g} %"]


def lines(found: Inference, level: float) -> Iterator[tuple[str, list[tuple[str, list[str]]]]]:
    """Yield the title of each class and its lines: the term's name and the numbers as text."""
    interval = found.conf_int(level)
    errors, z, p = found.standard_errors, found.z, found.p_values
    left = MAX_LINES
    for k, label in enumerate(found.classes.tolist()):
        against = "" if found.base is None else f" against {found.base}"
        told = []
        for j, term in enumerate(found.terms[:left]):
            numbers = [
                f"{found.params[k, j]:.5g}", f"{errors[k, j]:.4g}", f"{z[k, j]:.2f}", probability(p[k, j]),
                f"{interval[k, j, 0]:.4g}", f"{interval[k, j, 1]:.4g}",
            ]  # fmt: skip
            told.append((term, numbers))
        yield f"{label}{against}", told
        left -= len(told)
        if left <= 0:
            return


def text(found: Inference, level: float) -> str:
    """Return the table as text."""
    names = headings(level)
    classes = list(lines(found, level))
    first = max(len(name) for title, told in classes for name in (title, *(term for term, _ in told)))
    widths = [
        max(len(name), *(len(numbers[i]) for _, told in classes for _, numbers in told)) + 2
        for i, name in enumerate(names)
    ]
    rule = "-" * (first + sum(widths))
    said = [f"{name + ':':<22}{value}" for name, value in facts(found)]
    for title, told in classes:
        said += [rule, title.ljust(first) + "".join(n.rjust(w) for n, w in zip(names, widths, strict=True))]
        said += [
            term.ljust(first) + "".join(n.rjust(w) for n, w in zip(numbers, widths, strict=True))
            for term, numbers in told
        ]
    return "\n".join([*said, rule, *_endings(found, classes)])


def html(found: Inference, level: float = 0.95) -> str:
    """Return the table as HTML."""
    escape = markup.escape
    said = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in facts(found)
    )
    classes = list(lines(found, level))
    head = "".join(f"<th>{escape(name)}</th>" for name in headings(level))
    body = ""
    for title, told in classes:
        body += f"<tr><th>{escape(title)}</th>{head}</tr>"
        for term, numbers in told:
            cells = "".join(f"<td>{escape(number)}</td>" for number in numbers)
            body += f"<tr><td>{escape(term)}</td>{cells}</tr>"
    ends = "".join(f"<p>{escape(line)}</p>" for line in _endings(found, classes))
    return f"<div><table>{said}</table><table>{body}</table>{ends}</div>"


def _endings(found: Inference, classes: list[Any]) -> list[str]:
    missing = found.n_params - sum(len(told) for _, told in classes)
    return [found.note, *([f"{missing:,} more: to_frame()"] if missing else [])]


def probability(p: float) -> str:
    """Return a p-value as text."""
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}"
