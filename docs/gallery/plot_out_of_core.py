"""
Rows that do not fit in memory
==============================

Files are read by blocks, a bounded part at a time, and the optimum is that of rows in memory. Readings are
what costs, and few are made: rows that matter are kept, and each reading is a step of Newton's method with
their Hessian.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fastsoftmax import SoftmaxRegression, open_rows

rng = np.random.default_rng(0)
coef = rng.normal(size=(5, 40))
folder = Path(tempfile.mkdtemp())
for part in range(4):  # four files of 25,000 rows
    X = rng.normal(size=(25_000, 40)).astype(np.float32)
    y = np.argmax(X @ coef.T + rng.gumbel(scale=3, size=(25_000, 5)), axis=1)
    table = pa.table({f"x{j}": X[:, j] for j in range(40)} | {"label": y})
    pq.write_table(table, folder / f"part{part}.parquet", compression="zstd")

# %%
# ``memory`` bounds what the fit holds beside its parameters. Here it is far less than the 16 MB of the rows.
with open_rows(folder, target="label", memory="4M") as rows:
    print(f"{rows.n_rows} rows, {rows.n_features} features, classes {rows.classes.tolist()}")
    model = SoftmaxRegression().fit(rows)
    print(f"{model.solver_}: {model.history_[-1].passes} readings, gap {model.duality_gap_:.1e}")
    print(f"accuracy {model.score(rows):.1%}")

# %%
# The distance from the optimum after each reading, and what was proven of it.
readings = np.array([record.passes for record in model.history_])
objective = np.array([record.objective for record in model.history_])
gap = np.array([np.nan if record.gap is None else record.gap for record in model.history_], dtype=float)
distance = np.maximum(objective - (objective.min() - model.duality_gap_), 1e-12) / objective.min()
figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
axes.plot(readings, distance, "o-", color="#3b6ea5", label="F − F*, relative, at most")
axes.axhline(model.tol, color="grey", linewidth=0.8, linestyle=":", label="tol")
axes.set(yscale="log", xlabel="readings of the files", ylabel="distance from the optimum")
axes.legend(frameon=False)
axes.spines[["top", "right"]].set_visible(False)
