"""Pictures of a GPU's result: bandwidth of the row kernels, passes, and the gap of the fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

if TYPE_CHECKING:
    from pathlib import Path


def draw(found: dict[str, Any], path: Path) -> list[Path]:
    """Draw the bandwidth of the row kernels by classes, the passes, and the gap of the fit by time."""
    pictures = []
    for operation in ("softmax", "cross_entropy"):
        figure = Figure(figsize=(10, 4), layout="constrained")
        for axes, form in zip(figure.subplots(1, 2, sharey=True), ("float32", "bfloat16")):
            lines = [row for row in found["rows"] if (row["operation"], row["dtype"]) == (operation, form)]
            for name in dict.fromkeys(name for row in lines for name in row["gb_per_s"]):
                with_it = [row for row in lines if name in row["gb_per_s"]]
                values = [row["gb_per_s"][name] for row in with_it]
                axes.plot([row["classes"] for row in with_it], values, marker="o", label=name)
            axes.set_xscale("log", base=2)
            axes.set_title(f"{operation}, {form}, {found['gpu']}")
            axes.set_xlabel("classes")
        figure.axes[0].set_ylabel("GB/s")
        figure.axes[0].legend()
        pictures.append(path.with_name(f"{path.stem}_{operation}.png"))
        figure.savefig(pictures[-1], dpi=120)
    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots()
    lines = {
        f"{row['problem']}, {row['dtype']} {row['place']}: {name}": seconds / row["seconds"]["products"]
        for row in found["passes"]
        for name, seconds in row["seconds"].items()
        if name != "products"
    }
    axes.barh(list(lines), list(lines.values()))
    axes.invert_yaxis()
    axes.axvline(1.0, color="black")
    axes.set_xlabel(f"time / time of the matrix products, {found['gpu']}")
    pictures.append(path.with_name(f"{path.stem}_passes.png"))
    figure.savefig(pictures[-1], dpi=120)
    figure = Figure(layout="constrained")
    axes = figure.subplots()
    points = [(seconds, gap / value) for seconds, value, gap, _ in found["fit"]["history"] if gap]
    axes.plot(*zip(*points), marker=".")
    axes.set_yscale("log")
    axes.set_xlabel("seconds")
    axes.set_ylabel("certified gap / objective")
    pictures.append(path.with_name(f"{path.stem}_fit.png"))
    figure.savefig(pictures[-1], dpi=120)
    return pictures
