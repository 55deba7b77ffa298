"""scanpy's marker genes by logistic regression: sparse counts of many genes, clusters as classes."""

from __future__ import annotations

import anndata
import numpy as np
import scanpy
import scipy.sparse
import sklearn.linear_model

from fastsoftmax import SoftmaxRegression
from tests.hosts.replaced import replaced

CALL = (
    "tl.rank_genes_groups(cells, 'cluster', method='logreg', max_iter=1000), sparse 3000 x 1000, 8 clusters"
)
OURS = SoftmaxRegression
CELLS, GENES, CLUSTERS, MARKERS = 3000, 1000, 8, 10


def data():
    """Return cells and clusters; each cluster has markers of its own, and the first genes are theirs."""
    rng = np.random.default_rng(0)
    cluster = rng.integers(0, CLUSTERS, CELLS)
    rates = rng.gamma(0.3, 1.0, GENES)
    rates = np.tile(rates, (CLUSTERS, 1))
    for k in range(CLUSTERS):
        rates[k, k * MARKERS : (k + 1) * MARKERS] += 1.5
    cells = anndata.AnnData(scipy.sparse.csr_matrix(rng.poisson(rates[cluster]).astype(np.float32)))
    cells.obs["cluster"] = np.char.mod("%d", cluster)
    cells.obs["cluster"] = cells.obs["cluster"].astype("category")
    scanpy.pp.normalize_total(cells, target_sum=1e4)
    scanpy.pp.log1p(cells)
    return cells, None


def in_place(kind):
    """Let scanpy find this class in scikit-learn, where it looks when it is called; None for its own."""
    return replaced("LogisticRegression", kind, sklearn.linear_model)


def fit(cells, _):
    """Return the ranked genes and their scores."""
    scanpy.tl.rank_genes_groups(cells, "cluster", method="logreg", max_iter=1000)
    return cells.uns["rank_genes_groups"]


def scores(ranked):
    """Return how many of the ten best genes are the cluster's markers, and the sum of all first scores."""
    found = [
        sum(k * MARKERS <= int(gene) < (k + 1) * MARKERS for gene in ranked["names"][str(k)][:MARKERS])
        for k in range(CLUSTERS)
    ]
    first = sum(float(ranked["scores"][str(k)][:MARKERS].sum()) for k in range(CLUSTERS))
    return {"markers": sum(found) / (CLUSTERS * MARKERS), "best_scores": first}
