"""Law: a fit of Dask's blocks has the bits of one machine's fit of the same blocks, wherever they are."""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
import pytest

from fastsoftmax import SoftmaxObjective, SoftmaxRegression, on_workers
from tests.dask.problems import MEMORY, STEP, arrays, on_one_machine, problem, said


def memory_for(X):
    """The memory by which rows are not kept, those of bytes either."""
    return "16K" if X.dtype == np.uint8 else MEMORY


@pytest.mark.parametrize("case", [
    {"dtype": np.float64}, {"dtype": np.float32}, {"dtype": np.uint8, "n_classes": 3}, {"n_classes": 2},
    {"sparse": True}, {"sparse": True, "dtype": np.float32, "n_classes": 2},
], ids=str)  # fmt: skip
def test_without_a_client(case):
    X, y, w = problem(**case)
    memory = memory_for(X)
    here = SoftmaxRegression(tol=1e-5).fit(on_one_machine(X, y, w, memory))
    there = SoftmaxRegression(tol=1e-5).fit(on_workers(*arrays(X, y, w), memory=memory))
    assert said(there) == said(here)


def test_the_first_look_is_that_of_one_machine():
    X, y, w = problem()
    here, there = on_one_machine(X, y, w), on_workers(*arrays(X, y, w), memory=MEMORY)
    a, b = here.look(), there.look()
    assert (a.n_bytes, a.n_blocks, a.dtype, a.weight) == (b.n_bytes, b.n_blocks, b.dtype, b.weight)
    assert a.head.n_rows == b.head.n_rows
    assert a.learnt.classes.tolist() == b.learnt.classes.tolist()
    assert a.learnt.weight.tobytes() == b.learnt.weight.tobytes()
    assert a.sample.X.tobytes() == b.sample.X.tobytes()
    assert a.sample.position.tolist() == b.sample.position.tolist()
    assert 0 < len(a.sample.position) < len(y)


@pytest.mark.parametrize("case", [{"sparse": True}, {"n_classes": 2}, {"dtype": np.uint8}], ids=str)
def test_standardised_rows(case):
    X, y, w = problem(**case)
    here, there = on_one_machine(X, y, w, memory_for(X)), on_workers(*arrays(X, y, w), memory=memory_for(X))
    models = [SoftmaxRegression(standardize=True).fit(rows) for rows in (here, there)]
    assert said(models[1]) == said(models[0])
    assert (here.n_readings, here.bytes_read) == (there.n_readings, there.bytes_read)
    late = on_workers(*arrays(X, y, w), memory=memory_for(X))
    late.classes  # noqa: B018  (the first reading, without moments)
    for ours, theirs in zip(late.moments(), here.moments()):
        np.testing.assert_array_equal(ours, theirs)
    assert (late.n_readings, late.bytes_read) == (2, 2 * late.look().n_bytes)


@pytest.mark.parametrize("case", [{"dtype": np.float32}, {"sparse": True}], ids=str)
def test_one_against_the_rest(case):
    X, y, w = problem(**case)
    options = {"multi_class": "ovr", "standardize": True}
    rows = on_workers(*arrays(X, y, w), memory=MEMORY)
    here = SoftmaxRegression(**options).fit(on_one_machine(X, y, w))
    assert said(SoftmaxRegression(**options).fit(rows)) == said(here)


def test_progress_counts_all_rows():
    X, y, w = problem()
    seen = []
    on_workers(*arrays(X, y, w), memory=MEMORY).look(seen.append)
    assert seen[-1] == (len(y), len(y), X.nbytes, 0)
    assert len(seen) > 1


def test_probabilities_weights_of_classes_and_an_objective():
    X, y, w = problem(3)
    soft = np.random.default_rng(1).dirichlet(np.ones(3), len(y))
    dX, dy, dw = arrays(X, y, w)
    with dask.config.set(scheduler="sync"):
        rows = on_workers(dX, dy, dw, memory=MEMORY)
        assert said(SoftmaxRegression().fit(rows)) == said(SoftmaxRegression().fit(on_one_machine(X, y, w)))
    here = SoftmaxRegression().fit(on_one_machine(X, soft, w))
    rows = on_workers(dX, da.from_array(soft, chunks=(STEP, 3)), dw, memory=MEMORY)
    assert said(SoftmaxRegression().fit(rows)) == said(here)
    here = SoftmaxRegression(class_weight="balanced").fit(on_one_machine(X, y))
    there = SoftmaxRegression(class_weight="balanced").fit(on_workers(dX, dy, memory=MEMORY))
    assert said(there) == said(here)
    here = SoftmaxRegression().fit_path(on_one_machine(X, y), None, [0.1, 10.0])
    there = SoftmaxRegression().fit_path(on_workers(dX, dy, memory=MEMORY), None, [0.1, 10.0])
    assert [each.coef_.tobytes() for each in there] == [each.coef_.tobytes() for each in here]
    one, other = (
        SoftmaxObjective(on_one_machine(X, y, w), l2=0.1),
        SoftmaxObjective(dX, dy, l2=0.1, sample_weight=dw),
    )
    x = np.random.default_rng(2).normal(size=one.n_params)
    assert one.value_and_grad(x)[1].tobytes() == other.value_and_grad(x)[1].tobytes()
    assert one.hessp(x, x).tobytes() == other.hessp(x, x).tobytes()
