"""Law: what a matrix's rounding hides of a Hessian, the products of that Hessian tell."""

from __future__ import annotations

import numpy as np
import pytest

from fastsoftmax.contracts import Params
from fastsoftmax.preconditioners import hidden

N, D = 60, 7
RNG = np.random.default_rng(0)
COLUMNS = RNG.normal(size=(N, D))


def rows_with(differences):
    """Rows whose last columns are the first ones, but for noise of these sizes."""
    X = COLUMNS.copy()
    for j, size in enumerate(differences):
        X[:, -1 - j] = X[:, j] + size * COLUMNS[:, -1 - j]
    return X


def counted(X):
    """A Hessian-vector product of ‖X v‖² / 2 that counts its calls."""

    def product(vector):
        product.calls += 1
        return X.T @ (X @ vector)

    product.calls = 0
    return product


@pytest.mark.parametrize("differences", [(1e-7,), (1e-6, 1e-9), (1e-8, 0.0), (0.0,), (0.0, 0.0)])
def test_dependencies_and_their_curvatures(differences):
    X = rows_with(differences)
    dependent = hidden.dependencies(X.T @ X, 1e-10)
    assert dependent.shape == (len(differences), D)
    assert np.abs(X @ dependent.T).max() < 1e-5
    product = counted(X)
    root = hidden.root_of(dependent, product)
    n_real = np.count_nonzero(differences)
    assert root.shape == (D, n_real)
    assert product.calls == 1 + (len(differences) if n_real else 0)
    # Along what is left, R Rᵀ is the inverse: Rᵀ H R is one.
    np.testing.assert_allclose((X @ root).T @ (X @ root), np.eye(n_real), rtol=0, atol=1e-5)


def test_no_dependencies_of_ordinary_columns_nor_of_zeros():
    X = COLUMNS.copy()
    X[:, 2] = 0.0
    X[:, 3] *= 1e-60
    assert hidden.dependencies(X.T @ X, 1e-10).shape == (0, D)


def test_more_than_are_asked_for():
    X = np.repeat(COLUMNS[:, :1], hidden.MAX_ASKED + 2, axis=1)
    assert len(hidden.dependencies(X.T @ X, 1e-10)) == 0
    few = np.ones((2, 3))
    assert hidden.of_every_class(few, hidden.MAX_ASKED // 2).shape == (
        hidden.MAX_ASKED,
        3 * hidden.MAX_ASKED // 2,
    )
    too_many = hidden.of_every_class(few, hidden.MAX_ASKED)
    assert too_many.shape == (0, 3 * hidden.MAX_ASKED)
    product = counted(np.ones((1, too_many.shape[1])))
    assert hidden.root_of(too_many, product).shape == (too_many.shape[1], 0)
    assert product.calls == 0


def test_every_class_has_its_own_curvature():
    n_classes, difference = 3, 1e-7
    X = rows_with((difference,))
    scales = np.array([1.0, 0.5, 2.0])

    def hessp(vector):
        return Params(scales[:, np.newaxis] * ((vector.coef @ X.T) @ X), scales * vector.intercept)

    dependent = np.append(hidden.dependencies(X.T @ X, 1e-10), [[0.0]], axis=1)

    def identity(vector):
        pass

    inverse = hidden.added(identity, dependent, n_classes, hessp)
    steps = np.array([1.0, -2.0, 0.5])
    product = hessp(Params(np.outer(steps, dependent[0, :-1]), np.zeros(n_classes)))
    before = product.coef.copy()
    inverse(product)
    np.testing.assert_allclose(product.coef - before, np.outer(steps, dependent[0, :-1]), rtol=1e-5)
    assert hidden.added(identity, dependent[:0], n_classes, hessp) is identity
