"""
Single cells: which genes tell the types apart
==============================================

Counts of thousands of genes in a sparse matrix, of which a few mark the type of a cell. An L1 penalty makes
exact zeros: with ``group_classes=True`` a gene is in or out for all types together. ``C_min`` is where the
first gene comes in; ``fit_path`` follows the fits from there, each from the one before it.
"""

import matplotlib.pyplot as plt
import numpy as np
import scipy.sparse as sp

import fastsoftmax
from fastsoftmax import SoftmaxRegression

rng = np.random.default_rng(0)
n_cells, n_genes, n_types, n_markers = 1_500, 1_200, 6, 4
y = rng.integers(n_types, size=n_cells)
rate = rng.gamma(0.5, 0.6, size=n_genes)  # mean counts: most genes are hardly seen
fold = np.ones((n_types, n_genes))
for kind in range(n_types):  # the first genes are markers, four a type
    fold[kind, kind * n_markers : (kind + 1) * n_markers] = 6.0
depth = rng.lognormal(sigma=0.3, size=(n_cells, 1))
counts = rng.poisson(depth * rate * fold[y])
X = sp.csr_array(np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e3))
print(f"{X.shape[0]} cells, {X.shape[1]} genes, {X.nnz / np.prod(X.shape):.0%} of the entries are not zero")

# %%
model = SoftmaxRegression(l1_ratio=1.0, group_classes=True)
first = fastsoftmax.C_min(X, y, group_classes=True)
Cs = first * np.geomspace(1.05, 60, 25)
path = model.fit_path(X, y, Cs)

# %%
# How many of the genes that are in are markers, along the path.
chosen = [np.flatnonzero(np.abs(fit.coef_).sum(axis=0)) for fit in path]
n_true = [np.sum(genes < n_types * n_markers) for genes in chosen]
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
left.plot(Cs, [len(genes) for genes in chosen], label="genes in the model", color="#3b6ea5")
left.plot(Cs, n_true, label="of which markers", color="#c1543c")
left.axhline(n_types * n_markers, color="grey", linewidth=0.8, linestyle=":")
left.set(xscale="log", yscale="log", xlabel="C", ylabel="genes")
left.legend(frameon=False)

# The size of each gene's coefficients: markers first in, and far above the rest.
sizes = np.array([np.linalg.norm(fit.coef_, axis=0) for fit in path])
markers = np.arange(n_genes) < n_types * n_markers
right.plot(Cs, sizes[:, ~markers], color="grey", linewidth=0.4)
right.plot(Cs, sizes[:, markers], color="#c1543c", linewidth=0.8)
right.set(xscale="log", xlabel="C", ylabel="‖coefficients of a gene‖")
for axes in (left, right):
    axes.spines[["top", "right"]].set_visible(False)
