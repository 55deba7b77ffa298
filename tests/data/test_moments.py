"""Law: means and deviations are as exact as float64 has them, in every storage, by any split of the rows."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp

from fastsoftmax import open_rows, rows_from
from fastsoftmax.data import moments, validation

N = 157


def exact(X, weight):
    """Mean and deviation of each column, in rational numbers until the root."""
    w = [Fraction(float(v)) for v in weight]
    total = sum(w)
    found = []
    for column in np.asarray(X, np.float64).T:
        numbers = [Fraction(float(v)) for v in column]
        mean = sum(a * b for a, b in zip(w, numbers)) / total
        found.append(
            (float(mean), float(sum(a * (b - mean) ** 2 for a, b in zip(w, numbers)) / total) ** 0.5)
        )
    return np.array(found).T


def hard():
    """Columns of which the deviation is a hundred-millionth of the mean, small, sparse, constant and zero."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 6))
    X[:, 0] += 1e8
    X[:, 1] *= 1e-9
    X[:, 2] = np.where(rng.random(N) < 0.1, X[:, 2], 0.0)
    X[:, 3], X[:, 4] = 0.1, 0.0
    return X, rng.integers(0, 4, N) * rng.uniform(0.5, 1.0, N)


@pytest.mark.parametrize("kind", ["C", "F", "CSR", "CSC", "float32", "float16", "uint8"])
@pytest.mark.parametrize("few", [True, False])
def test_moments_are_exact(kind, few, monkeypatch):
    if few:
        monkeypatch.setattr(moments, "NUMBERS", 1)
        monkeypatch.setattr(moments, "ENTRIES", 1)
        monkeypatch.setattr(moments, "ENTRIES_PER_FEATURE", 1)
    X, weight = hard()
    if kind in ("float32", "float16", "uint8"):
        X = (X * 20 + 100).clip(0, 255)[:, 1:].astype(kind)
    make = {"F": np.asfortranarray, "CSR": sp.csr_array, "CSC": sp.csc_array}.get(kind, np.asarray)
    mean, deviation = exact(X, weight)
    found = moments.of_rows(validation.design_matrix(make(X)), weight)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-15, atol=1e-15 * np.abs(X).max())
    # The rounding of means of parts counts, beside a deviation of 10⁻⁸ of them.
    np.testing.assert_allclose(np.sqrt(found.squares / found.weight), deviation, rtol=1e-8, atol=1e-15)
    constant = np.ptp(np.asarray(X, np.float64), axis=0) == 0
    np.testing.assert_array_equal(found.scale()[constant], 1.0)
    assert (found.scale()[~constant] != 1.0).all()


def test_entries_at_one_place_count_as_their_sum():
    X = sp.csr_array((np.array([1.0, 2.0, 5.0]), np.array([0, 0, 1]), np.array([0, 2, 3])), shape=(2, 2))
    found = moments.of_rows(validation.design_matrix(X), None)
    np.testing.assert_allclose(found.mean, [1.5, 2.5])
    np.testing.assert_allclose(found.scale(), [1.5, 2.5])


def test_numbers_whose_squares_overflow_are_refused_by_their_column():
    with pytest.raises(ValueError, match="column 1 overflows"):
        moments.of_rows(np.array([[1.0, 1e200], [2.0, -1e200]]), None).scale()


def test_the_first_reading_finds_them_only_if_asked_and_else_another_one_does(tmp_path):
    X, weight = hard()
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", np.arange(N) % 2)
    np.save(tmp_path / "w.npy", weight)
    expected = moments.of_rows(X, weight)
    for early in (True, False):
        rows = open_rows(tmp_path / "X.npy", sample_weight=tmp_path / "w.npy", memory="4K")
        if not early:
            assert len(rows.classes) == 2
        for _ in range(2):
            found = rows.moments()
        assert rows.n_readings == (1 if early else 2)
        np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-15, atol=1e-15)
        np.testing.assert_allclose(found.scale(), expected.scale(), rtol=1e-7)


def test_blocks_of_different_widths_lack_zeros():
    def make():
        yield sp.csr_array(np.array([[1.0, 0.0]])), [0]
        yield sp.csr_array(np.array([[3.0, 4.0]])), [1]

    np.testing.assert_allclose(rows_from(make).moments().scale(), [1.0, 2.0])
    narrow, wide = (moments.of_rows(np.array(row), None) for row in ([[1.0]], [[3.0, 4.0]]))
    np.testing.assert_allclose(narrow.merged(wide).mean, [2.0, 2.0])
    np.testing.assert_allclose(wide.merged(narrow).squares, [2.0, 8.0])


def test_features_whose_mean_is_small_are_centred_only_if_all_are():
    found = moments.of_rows(np.array([[0.0, 5.0, 3.0], [1.0, 7.0, 3.0], [0.0, 9.0, 3.0]]), None)
    scale, mean = np.array([np.sqrt(2.0) / 3, np.sqrt(8.0 / 3), 1.0]), np.array([1 / 3, 7.0, 3.0])
    for options, centre in [
        ({"centred": True}, [0.0, 7.0, 3.0]), ({"centred": True, "everywhere": True}, mean),
        ({"centred": False, "everywhere": True}, [0.0, 0.0, 0.0]),
    ]:  # fmt: skip
        np.testing.assert_allclose(found.features(**options), [1 / scale, centre], rtol=1e-14)
