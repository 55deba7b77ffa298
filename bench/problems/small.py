"""Which small problems are run: sizes crossed, and those that are named one by one. All in float64."""

from __future__ import annotations

import itertools

from bench.problems.drawn import DrawnCsr, DrawnDense

N_ROWS = (50, 300, 1_500, 5_000)
N_FEATURES = (5, 50, 500, 2_000, 8_000)
N_CLASSES = (2, 5, 20)
LARGEST_DENSE = 10_000_000  # entries
LEAST_CSR_FEATURES = 50
QUICK_ROWS, QUICK_FEATURES = (50, 1_500), (5, 500)


def dense(n_rows: int, n_features: int, n_classes: int) -> DrawnDense:
    """Describe a dense problem, named by its sizes."""
    return DrawnDense(f"{n_rows}x{n_features} K{n_classes}", "float64", n_rows, n_features, n_classes)


def csr(n_rows: int, n_features: int, n_classes: int) -> DrawnCsr:
    """Describe a CSR problem, named by its sizes."""
    return DrawnCsr(f"CSR {n_rows}x{n_features} K{n_classes}", "float64", n_rows, n_features, n_classes)


NAMED: tuple[DrawnDense, ...] = (
    dense(200, 10, 2),
    dense(1_000, 20, 2),
    dense(1_000, 30, 6),
    dense(400, 64, 10),
    dense(3_000, 200, 4),
    csr(730, 2_000, 2),
    csr(3_000, 2_000, 8),
    csr(500, 8_000, 3),
    dense(150, 1_500, 5),
)
RESAMPLED, N_SAMPLES = dense(300, 20, 3), 200


def crossed(quick: bool) -> dict[str, list[DrawnDense]]:
    """Cross the sizes, a few of them if quick, and give the dense problems and the CSR ones."""
    n_rows, n_features = (QUICK_ROWS, QUICK_FEATURES) if quick else (N_ROWS, N_FEATURES)
    sizes = list(itertools.product(n_rows, n_features, N_CLASSES))
    return {
        "dense": [dense(n, d, K) for n, d, K in sizes if n * d <= LARGEST_DENSE],
        "CSR": [csr(n, d, K) for n, d, K in sizes if d >= LEAST_CSR_FEATURES],
    }
