"""Law: a bin's numbers are those of its rows, and its interval is the one of so many rows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve

from fastsoftmax import expected_calibration_error, reliability


def forecasts(n=500, seed=0):
    rng = np.random.default_rng(seed)
    p = rng.beta(2.0, 1.0, n)
    return (rng.random(n) < p**2).astype(int), p


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_bins_are_those_of_calibration_curve(strategy):
    y, p = forecasts()
    found = reliability(y, p, n_bins=7, strategy=strategy, level=0.9)
    fraction, mean = calibration_curve(y, p, n_bins=7, strategy=strategy)
    np.testing.assert_allclose(found.fraction, fraction)
    np.testing.assert_allclose(found.confidence, mean)
    assert found.weight.sum() == len(y)
    for k, n in enumerate(found.weight.astype(int)):
        exact = binomtest(round(fraction[k] * n), int(n)).proportion_ci(0.9, method="wilson")
        np.testing.assert_allclose([found.lower[k], found.upper[k]], exact)
    gap = np.abs(fraction - mean)
    error = expected_calibration_error(y, np.column_stack((1 - p, p)), n_bins=7, strategy=strategy)
    np.testing.assert_allclose(
        [error, found.maximum_calibration_error], [gap @ found.weight / len(y), gap.max()]
    )


def test_of_many_classes_it_is_the_predicted_one():
    proba = [[0.7, 0.2, 0.1], [0.1, 0.7, 0.2], [0.2, 0.3, 0.5], [0.0, 0.0, 1.0]]
    found = reliability(list("abca"), proba, classes=list("abc"), n_bins=4)
    np.testing.assert_allclose(found.fraction, [1.0, 1.0, 0.0])
    np.testing.assert_allclose(found.confidence, [0.5, 0.7, 1.0])
    np.testing.assert_allclose(found.edges, [[0.25, 0.5], [0.5, 0.75], [0.75, 1.0]])
    assert found.event == "right"
    np.testing.assert_allclose(found.expected_calibration_error, (0.5 + 2 * 0.3 + 1.0) / 4)


def test_weights_are_repeated_rows_but_for_intervals():
    y, p = forecasts(60)
    weight = np.arange(60) % 4
    one, other = (
        reliability(y, p, sample_weight=weight),
        reliability(np.repeat(y, weight), np.repeat(p, weight)),
    )
    for a, b in zip(one[:2], other[:2], strict=True):
        np.testing.assert_allclose(a, b)
    assert (
        one.upper - one.lower >= other.upper - other.lower - 1e-12
    ).all()  # repeated rows tell nothing new


def test_right_probabilities_have_the_error_of_chance():
    rng = np.random.default_rng(1)
    p = rng.uniform(size=2000)
    errors = [reliability(rng.random(2000) < p, p, classes=[False, True]) for _ in range(40)]
    mean = np.mean([found.expected_calibration_error for found in errors])
    np.testing.assert_allclose(errors[0].by_chance, mean, rtol=0.1)


def test_wrong_arguments():
    for message, arguments in {
        "proba must lie in": ([0, 1], [0.5, 1.5]),
        "proba must be": ([0, 1], 0.5),
        "y must be": ([0, 1, 1], [0.5, 0.5]),
        "not among the classes": ([0, 2], [0.5, 0.5]),
    }.items():
        with pytest.raises(ValueError, match=message):
            reliability(*arguments)
    for message, options in {
        "n_bins": {"n_bins": 0},
        "strategy": {"strategy": "equal"},
        "level": {"level": 95},
        "classes": {"classes": ["a"]},
        "sample_weight": {"sample_weight": [1.0, -1.0]},
    }.items():
        with pytest.raises(ValueError, match=f"{message} must be|{message} must lie"):
            reliability([0, 1], [0.5, 0.5], **options)
