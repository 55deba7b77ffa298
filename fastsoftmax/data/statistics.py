"""Statistics of columns from a few rows, to decide how a fit is to be parametrised."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax import devices
from fastsoftmax.contracts import Centre, Csr, Halves

if TYPE_CHECKING:
    from fastsoftmax.contracts import HostRows, Rows, Vector

SAMPLE = 512  # rows, evenly spaced: a centre has to lie amid the rows, not at their mean
MORE = 2**14  # rows, of columns that are constant in the sample
FEW = 8  # rows of them that most sparse matrices are told by to have no full column
# The |mean| / deviation from which a column is centred. The Hessian of such a column and the intercept has a
# condition number of about its square.
FAR = 100.0


def centre_of(rows: Rows) -> Centre | None:
    """Return the centre of the columns that are far from zero for their deviation; None if there are none.

    Parameters
    ----------
    rows : ndarray, Halves, Csr or DeviceArray, (n, d)

    Notes
    -----
    From at most 512 rows, evenly spaced, whatever their weights: O(d) beside 512 d numbers read. Of dense
    columns that are constant in these, as rare standardised indicators may be, from up to 16,384.
    """
    n_rows = rows.shape[0]
    places = np.arange(0, n_rows, -(-n_rows // SAMPLE))
    for chosen in (places[:FEW], places) if isinstance(rows, Csr) else (places,):
        # Rows on the host that are all looked at are not copied.
        if isinstance(rows, np.ndarray) and len(places) == n_rows:
            sample: HostRows = rows
        else:
            sample = devices.taken_to_host(rows, chosen)
        if isinstance(sample, Csr) and not _has_full_column(sample):
            return None
    mean, variance = _moments(sample)
    far = np.abs(mean) > FAR * np.sqrt(variance)
    constant = np.flatnonzero(far & (variance == 0.0))
    if len(constant) and len(places) < n_rows and isinstance(rows, np.ndarray):
        more = rows[:: -(-n_rows // MORE)][:, constant]
        mean[constant], variance[constant] = _moments(more)
        far = np.abs(mean) > FAR * np.sqrt(variance)
    if not far.any():
        return None
    return Centre(np.where(far, mean, 0.0), variance, np.flatnonzero(far))


def _has_full_column(sample: Csr) -> bool:
    """Return whether some column has as many entries as there are rows.

    No other can be far from zero: with a zero among n ≤ 512 rows, of any others, the mean is at most √n times
    the deviation.
    """
    n_rows, n_features = sample.shape
    counts = np.bincount(sample.indices, minlength=n_features)
    return bool(counts.max(initial=0) >= n_rows)


def needs_float64(centre: Centre) -> bool:
    """Return whether products with narrow rows of that centre have to be float64.

    A constant column has no deviation that could be hidden.
    """
    # Float32 hides 6e-6 of such a column's deviation: solvers then end in float64 after most of their passes
    # are lost. With float64 products at once, fits of 16 to 300 features took 0.4 to 1.1 of the time.
    return bool(np.any(centre.variance[centre.columns] > 0.0))


def _moments(sample: HostRows) -> tuple[Vector, Vector]:
    """Return the mean and the variance of each column; of squares that overflow, infinity."""
    with np.errstate(over="ignore"):
        if isinstance(sample, Csr):
            return _sparse_moments(sample)
        numbers = (sample.bits.view(np.float16) if isinstance(sample, Halves) else sample).astype(np.float64)
        # The pivot keeps the digits of a small deviation.
        pivot = numbers[0].copy()
        numbers -= pivot
        shift = numbers.mean(axis=0)
        numbers -= shift
        return pivot + shift, np.einsum("ij,ij->j", numbers, numbers) / len(numbers)


def _sparse_moments(sample: Csr) -> tuple[Vector, Vector]:
    """Return the same for sparse rows, whose entries are read twice."""
    n_rows, n_features = sample.shape
    entries = sample.data.astype(np.float64)
    mean = np.bincount(sample.indices, entries, n_features) / n_rows
    squares = np.bincount(sample.indices, np.square(entries - mean[sample.indices]), n_features)
    n_zeros = n_rows - np.bincount(sample.indices, minlength=n_features)
    return mean, (squares + np.maximum(n_zeros, 0) * mean**2) / n_rows
