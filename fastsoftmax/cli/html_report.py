"""A page about a fit: one HTML file without a script, that loads nothing and says what `fit` found."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

from fastsoftmax.cli.accuracy import BINS
from fastsoftmax.cli.coefficients import signed
from fastsoftmax.contracts.sizes import in_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fastsoftmax.cli.accuracy import Measured
    from fastsoftmax.cli.data_sets import About
    from fastsoftmax.cli.parts import Reached
    from fastsoftmax.estimator import SoftmaxRegression

FEATURES = 8  # of each class
LONG = 4  # letters of a class's name, above which a table's heads stand upright
MOST_CLASSES = 30  # of a table of confusions, and of features by class
_STYLE = """
:root { color-scheme: light; --blue: #3b6ea5; --red: #c1543c; --line: #d8dde3; --soft: #5b6570; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2329; }
body { margin: 0 auto; max-width: 60rem; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.5rem; margin: 0 0 .2rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2.2rem 0 .5rem; }
p { margin: .3rem 0; } .soft { color: var(--soft); }
.numbers { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); }
.numbers { gap: .8rem; margin: 1rem 0; }
.numbers div { border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .8rem; }
.numbers b { display: block; font-size: 1.35rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; }
th, td { padding: .2rem .7rem .2rem 0; border-bottom: 1px solid var(--line); }
th { font-weight: 600; } .matrix tbody th { white-space: nowrap; }
.long thead th { writing-mode: vertical-rl; transform: rotate(180deg); white-space: nowrap; }
.matrix td, .matrix thead th { text-align: right; padding: .15rem .5rem; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); gap: 1.5rem; }
svg { width: 100%; height: auto; } svg text { font: 11px system-ui, sans-serif; fill: #1d2329; }
"""


class _Axes(NamedTuple):
    """The part of a picture where points lie, and the numbers at its ends."""

    x: tuple[float, float]
    y: tuple[float, float]
    left: float = 58.0
    top: float = 10.0
    width: float = 330.0
    height: float = 200.0

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return where a point lies in the picture."""
        across = (x - self.x[0]) / ((self.x[1] - self.x[0]) or 1.0)
        up = (y - self.y[0]) / ((self.y[1] - self.y[0]) or 1.0)
        return self.left + across * self.width, self.top + (1.0 - up) * self.height


def page(
    result: dict[str, Any],
    model: SoftmaxRegression,
    reached: Reached,
    features: Sequence[dict[str, Any]],
    about: About,
) -> str:
    """Return the page, HTML.

    Parameters
    ----------
    result : dict
        What `fit_report.summary` and the command say, by the names of the JSON output.
    model : SoftmaxRegression
    reached : Reached
        Of the rows to test on; of those of the fit if there are none.
    features : list of dict
        The largest coefficients of each class (`coefficients.largest`).
    about : About
    """
    names = _class_names(result, about)
    title = f"{result['data']}: softmax regression"
    on_test = result["test_accuracy"] is not None
    parts = [
        f"<h1>{escape(title)}</h1>",
        _paragraph(
            f"{result['rows']:,} rows × {result['features']:,} features, {result['classes']:,} classes"
        ),
        *map(_paragraph, result["notes"]),
        _numbers(result, reached, on_test=on_test),
        "<h2>How it was fitted</h2>",
        _table(_settings(result)),
        _paragraph(_certificate(result)),
        '<div class="pictures">',
        _figure("Distance from the end of the fit, by readings of the rows", _curve(model)),
        _figure(
            "Probability of the likeliest class, and how often it is right", _reliability(reached.measured)
        ),
        "</div>",
        f"<h2>Which classes are taken for which ({'test' if on_test else 'training'} rows)</h2>",
        _confusions(reached.measured, names),
        "<h2>What the model goes by</h2>",
        _paragraph("Coefficient times deviation of the column: what a logit changes by, in nats.", soft=True),
        _features(features, dict(zip(result["class_labels"], names, strict=True))),
    ]
    body = "\n".join(part for part in parts if part)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>\n{body}\n</body></html>\n"
    )


def _class_names(result: dict[str, Any], about: About) -> tuple[str, ...]:
    names = about.class_names
    has_all = names is not None and len(names) == result["classes"]
    return tuple(map(str, names if has_all and names is not None else result["class_labels"]))


def _paragraph(text: str, *, soft: bool = False) -> str:
    return f"<p{' class=soft' if soft else ''}>{escape(text)}</p>"


def _numbers(result: dict[str, Any], reached: Reached, *, on_test: bool) -> str:
    """Return the few numbers that are asked for first."""
    whose = "test" if on_test else "training"
    of_training = [(f"{result['train_accuracy']:.2%}", "training accuracy")] if on_test else []
    told = [
        (f"{reached.accuracy:.2%}", f"{whose} accuracy, of {reached.n_rows:,} rows"),
        (f"{reached.measured.log_loss:.4g}", f"{whose} log loss, nats"),
        *of_training,
        (f"{result['seconds']:.3g} s", f"{result['passes']:,} passes"),
    ]
    each = "".join(f"<div><b>{escape(number)}</b>{escape(name)}</div>" for number, name in told)
    return f'<div class="numbers">{each}</div>'


def _settings(result: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [
        ("label", str(result["target"])) if result["target"] is not None else ("label", "of the file"),
        ("loss", result["loss"]),
        ("C", f"{result['C']:.4g}"),
        ("l1_ratio", f"{result['l1_ratio'] or 0:g}"),
        ("solver", f"{result['solver']}, {result['iterations']:,} iterations"),
        ("coefficients", f"{result['nonzero_coefficients']:,} of {result['coefficients']:,} are not zero"),
    ]
    if result["cv_folds"] is not None:
        scored = f"{result['cv_score']:.4g} ± {result['cv_score_standard_error']:.2g} {result['cv_scoring']}"
        rows.append(("chosen", f"by {result['cv_folds']} folds: {scored}"))
    if result["readings"] is not None:
        rows.append(("read", f"{result['readings']} times, {in_bytes(result['bytes_read'])}"))
    if result["model"]:
        rows.append(("model", result["model"]))
    return rows


def _certificate(result: dict[str, Any]) -> str:
    objective, gap = f"The objective is {result['objective']:.8g} nats", result["duality_gap"]
    if gap is None:
        return f"{objective}; no bound is given. The norm of the gradient is {result['grad_norm']:.2e}."
    relative = gap / result["objective"] if result["objective"] else math.nan
    return f"{objective}, and proven to be at most {gap:.2e} above its minimum ({relative:.1e} of it)."


def _table(rows: Iterable[tuple[str, str]]) -> str:
    lines = "".join(f"<tr><th>{escape(name)}</th><td>{escape(str(said))}</td></tr>" for name, said in rows)
    return f'<div class="wide"><table>{lines}</table></div>'


def _figure(title: str, drawing: str) -> str:
    return (
        f"<figure style='margin:1rem 0 0'><figcaption>{escape(title)}</figcaption>{drawing}</figure>"
        if drawing
        else ""
    )


def _svg(
    axes: _Axes,
    marks: Sequence[str],
    xlabel: str,
    x_ticks: Iterable[float],
    y_ticks: Iterable[tuple[float, str]],
) -> str:
    """Return a picture with its axes; `marks` are elements of SVG."""
    left, bottom = axes.at(axes.x[0], axes.y[0])
    right = left + axes.width
    lines = [f'<path d="M{left:.1f} {axes.top:.1f}V{bottom:.1f}H{right:.1f}" fill="none" stroke="#888"/>']
    for number in x_ticks:
        x, _ = axes.at(number, axes.y[0])
        lines.append(f'<text x="{x:.1f}" y="{bottom + 15:.1f}" text-anchor="middle">{number:g}</text>')
    for number, said in y_ticks:
        _, y = axes.at(axes.x[0], number)
        lines.append(f'<text x="{left - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{escape(said)}</text>')
        lines.append(f'<path d="M{left:.1f} {y:.1f}H{right:.1f}" stroke="#e6e9ed"/>')
    x, y = (left + right) / 2, bottom + 32
    lines.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle">{escape(xlabel)}</text>')
    return f'<svg viewBox="0 0 400 250" role="img">{"".join([*lines, *marks])}</svg>'


def _curve(model: SoftmaxRegression) -> str:
    """Return F above its last value against passes; nothing for fits of fewer than three points."""
    last = model.history_[-1].objective
    points = [(record.passes, record.objective - last) for record in model.history_]
    points = [(passes, above / abs(last or 1.0)) for passes, above in points if above > 0.0]
    if len(points) < 3:
        return ""
    logs = [math.log10(above) for _, above in points]
    low, high = math.floor(min(logs)), math.ceil(max(logs))
    axes = _Axes((0.0, float(points[-1][0])), (float(low), float(max(high, low + 1))))
    line = " ".join("{:.1f},{:.1f}".format(*axes.at(x, y)) for (x, _), y in zip(points, logs, strict=True))
    marks = [f'<polyline points="{line}" fill="none" stroke="#3b6ea5" stroke-width="2"/>']
    step = max(1, round((axes.y[1] - low) / 6))
    ticks = [(float(power), f"1e{power}") for power in range(low, int(axes.y[1]) + 1, step)]
    wide = [round(axes.x[1] * part) for part in (0.0, 0.5, 1.0)]
    return _svg(axes, marks, "passes", sorted(set(wide)), ticks)


def _reliability(found: Measured) -> str:
    """Return how often the likeliest class is right by its probability; nothing for several labels a row."""
    if not found.sure:
        return ""
    axes, total = _Axes((0.0, 1.0), (0.0, 1.0)), sum(found.sure["rows", b] for b in range(BINS))
    marks = [
        '<path d="M{:.1f} {:.1f}L{:.1f} {:.1f}" stroke="#c1543c" stroke-dasharray="4 3"/>'.format(
            *axes.at(0, 0), *axes.at(1, 1)
        )
    ]
    error = 0.0
    for b in range(BINS):
        rows, right, proba = (found.sure[name, b] for name in ("rows", "right", "proba"))
        if not rows:
            continue
        error += abs(right - proba) / total
        x, y = axes.at(proba / rows, right / rows)
        radius = 2.5 + 9.0 * math.sqrt(rows / total)
        told = f"{rows:,} rows: {proba / rows:.1%} said, {right / rows:.1%} right"
        circle = f'cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="#3b6ea5" fill-opacity=".75"'
        marks.append(f"<circle {circle}><title>{told}</title></circle>")
    ticks = [(part, f"{part:.0%}") for part in (0.0, 0.5, 1.0)]
    label = f"probability; on average off by {error:.1%} (the calibration error)"
    return _svg(axes, marks, label, (0.0, 0.5, 1.0), ticks)


def _confusions(found: Measured, names: Sequence[str]) -> str:
    """Return a table of classes by what they are taken for; of many classes the most frequent pairs."""
    if not found.by_class:
        return _paragraph("Rows have several labels.", soft=True)
    if len(names) > MOST_CLASSES:
        pairs = sorted(found.confused.items(), key=lambda each: (-each[1], each[0]))[:MOST_CLASSES]
        return _table(
            (f"{names[is_]} taken for {names[taken]}", f"{n:,} of {found.by_class[is_]:,} rows")
            for (is_, taken), n in pairs
        ) or _paragraph("None is confused.", soft=True)
    is_long = max(map(len, names)) > LONG
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    lines = []
    for is_, name in enumerate(names):
        of = found.by_class[is_]
        wrong = {taken: n for (a, taken), n in found.confused.items() if a == is_}
        cells = []
        for taken in range(len(names)):
            n = of - sum(wrong.values()) if taken == is_ else wrong.get(taken, 0)
            colour = "59,110,165" if taken == is_ else "193,84,60"
            shade = f' style="background:rgba({colour},{0.08 + 0.6 * n / of:.2f})"' if n else ""
            cells.append(f"<td{shade}>{n:,}</td>" if n else "<td></td>")
        lines.append(f"<tr><th>{escape(name)}</th>{''.join(cells)}</tr>")
    return (
        '<p class="soft">A line is a class, a column what it is taken for.</p>'
        f'<div class="wide"><table class="matrix{" long" if is_long else ""}"><thead>'
        f"<tr><th></th>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _features(told: Sequence[dict[str, Any]], names: dict[Any, str]) -> str:
    rows = [
        (
            names.get(each["label"], str(each["label"])),
            ", ".join(
                f"{one['feature']}\N{NO-BREAK SPACE}{signed(one['by_deviation'])}" for one in each["features"]
            )
            or "all are zero",
        )
        for each in told[:MOST_CLASSES]
    ]
    more = len(told) - MOST_CLASSES
    return _table(rows) + (_paragraph(f"And {more:,} more classes.", soft=True) if more > 0 else "")
