"""Law: rows and parameters that are on the device are used where they lie, and results are of their kind."""

from __future__ import annotations

import contextlib
import sys

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from fastsoftmax import DeviceUnavailable

pytest.importorskip("fastsoftmax.kernels.cuda.runtime", exc_type=DeviceUnavailable)

from fastsoftmax import SoftmaxObjective, SoftmaxRegression, devices
from fastsoftmax.contracts import RowBlock
from fastsoftmax.kernels.cuda import blocks, external, gradients, launch, sums
from tests.kernels.cuda import formats, libraries
from tests.kernels.cuda.libraries import Lent, Tensor

N, D, K = 10, 3, 3
rng = np.random.default_rng(0)
X, Y, WEIGHT = rng.normal(size=(N, D)), np.arange(N) % K, np.linspace(0.5, 1.5, N)
HERE, ALONG = rng.normal(size=(2, K * (D + 1)))
OPTIONS = {"l2": 0.1, "device": "cuda"}
ROUGH = {"tol": 1e-3, "max_iter": 5, "device": "cuda"}
rough = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(params=["ours", "lent", "torch"])
def library(request, xp, monkeypatch):
    """What makes an array of a library, the kind of its results, and what brings these to the host."""
    if request.param == "torch":
        if xp is not np:
            pytest.skip("the tensor is made of NumPy's memory")
        monkeypatch.setitem(sys.modules, "torch", libraries.torch())
        return Tensor, Tensor, lambda tensor: tensor.a
    if request.param == "lent":
        return (lambda a: Lent(xp.asarray(a))), xp.ndarray, lambda a: a if xp is np else xp.asnumpy(a)
    if xp is np:
        pytest.skip("CuPy's stand-in is NumPy, whose arrays are the host's")
    return xp.asarray, xp.ndarray, xp.asnumpy


@pytest.fixture(params=[np.float64, np.float32, np.float16, np.uint8, np.int32])
def stored(request):
    """Rows in one of the dtypes."""
    return (
        (3 * X).astype(request.param) if np.issubdtype(request.param, np.integer) else X.astype(request.param)
    )


def test_rows_are_read_where_they_lie(library, stored):
    given, _, _ = library
    rows = given(stored)
    objective = SoftmaxObjective(rows, Y, sample_weight=WEIGHT, **OPTIONS)
    own = objective._rows.source._blocks[0].X.host.array
    lies_there = launch.address(own) == launch.address(external.taken(rows).array)
    assert lies_there == (stored.dtype != np.int32)  # that is computed in float64
    expected = SoftmaxObjective(stored, Y, sample_weight=WEIGHT, **OPTIONS)
    for own, other in (
        (objective.value_and_grad(HERE), expected.value_and_grad(HERE)),
        ((objective.hessp(HERE, ALONG),), (expected.hessp(HERE, ALONG),)),
        ((objective.diagonal(HERE),), (expected.diagonal(HERE),)),
    ):
        for a, b in zip(own, other, strict=True):
            assert type(a) is type(b)
            np.testing.assert_array_equal(a, b)


def test_labels_and_weights_are_read_where_they_lie(library):
    given, _, _ = library
    y, weight = given(Y), given(WEIGHT)
    objective = SoftmaxObjective(given(X), y, sample_weight=weight, **OPTIONS)
    block = objective._rows.source._blocks[0]
    for array, theirs in ((block.target, y), (block.weight, weight)):
        own = block.X.kept[id(array)][1]
        assert launch.address(own) == launch.address(external.taken(theirs).array)
    expected = SoftmaxObjective(X, Y, sample_weight=WEIGHT, **OPTIONS)
    np.testing.assert_array_equal(objective.value_and_grad(HERE)[1], expected.value_and_grad(HERE)[1])
    soft = rng.dirichlet(np.ones(K), N)
    objective = SoftmaxObjective(X, given(soft), **OPTIONS)
    assert objective.value(HERE) == SoftmaxObjective(X, soft, **OPTIONS).value(HERE)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("rows_too", [False, True])
def test_results_are_of_the_kind_of_the_parameters(rows_too, fit_intercept, library):
    given, kind, fetched = library
    options = OPTIONS | {"fit_intercept": fit_intercept}
    objective = SoftmaxObjective(given(X) if rows_too else X, Y, **options)
    here, along = HERE[: objective.n_params], ALONG[: objective.n_params]
    value, grad = objective.value_and_grad(given(here))
    product = objective.hessp(given(here), given(along))
    assert isinstance(grad, kind)
    assert isinstance(product, kind)
    assert isinstance(value, (kind, np.generic))  # what has no dimensions is no array of NumPy's any more
    assert value.shape == ()
    expected = SoftmaxObjective(X, Y, **options)
    known_value, known_grad = expected.value_and_grad(here)
    eps = 8 * np.finfo(np.float64).eps
    np.testing.assert_allclose(fetched(value), known_value, rtol=eps)
    np.testing.assert_allclose(fetched(grad), known_grad, rtol=eps, atol=eps)
    known_product = expected.hessp(here, along)
    np.testing.assert_allclose(fetched(product), known_product, rtol=eps, atol=eps)
    np.testing.assert_allclose(
        fetched(objective.hessp(given(here), along)), known_product, rtol=eps, atol=eps
    )
    assert objective.passes == 3


def test_no_host_waits_for_parameters_on_the_device(library, monkeypatch):
    given, _, _ = library
    objective = SoftmaxObjective(given(X), given(Y), **OPTIONS)
    here, along = given(HERE), given(ALONG)

    def waits(*arguments):
        raise AssertionError("something is fetched")

    for module in (sums, gradients, external):
        monkeypatch.setattr(module, "here", waits)
    objective.value_and_grad(here)
    objective.hessp(here, along)
    with pytest.raises(AssertionError, match="fetched"):
        objective.value_and_grad(HERE)


def test_sums_are_fetched_once(monkeypatch):
    fetched, here = [], sums.here
    monkeypatch.setattr(sums, "here", lambda a: fetched.append(a) or here(a))
    objective = SoftmaxObjective(X, Y, **OPTIONS)
    monkeypatch.setattr("fastsoftmax.kernels.cuda.blocks.CHUNK_BYTES", 8 * 4 * 2)
    objective.value_and_grad(HERE)
    assert len(fetched) == 1


def test_work_goes_to_the_stream_of_the_caller(xp, monkeypatch):
    if xp is not np:
        pytest.skip("the streams of a real PyTorch are its own")
    monkeypatch.setitem(sys.modules, "torch", libraries.torch())
    current = [None]

    @contextlib.contextmanager
    def external_stream(handle):
        before, current[0] = current[0], handle
        yield
        current[0] = before

    monkeypatch.setattr(external, "external_stream", external_stream)
    streams = []
    device = devices.get("cuda")
    for verb in ("loss_grad", "hessp", "logits", "softmax", "top"):
        own = getattr(device, verb)

        def watched(*arguments, own=own, **options):
            streams.append(current[0])
            return own(*arguments, **options)

        monkeypatch.setattr(device, verb, watched)
    objective = SoftmaxObjective(Tensor(X), Y, **OPTIONS)
    objective.value_and_grad(HERE)
    objective.hessp(Tensor(HERE), Tensor(ALONG))
    SoftmaxObjective(X, Y, **OPTIONS).value_and_grad(Tensor(HERE))
    model = SoftmaxRegression(device="cuda")
    model.coef_, model.intercept_ = HERE[:9].reshape(K, D), HERE[9:]
    model.classes_, model.n_features_in_ = np.arange(K), D
    model.predict_proba(Tensor(X))
    model.predict(Tensor(X))
    assert len(streams) == 6
    assert set(streams) == {libraries.STREAM}
    SoftmaxObjective(X, Y, **OPTIONS).value_and_grad(HERE)
    assert streams[-1] is None


def test_rows_of_bfloat16(xp, monkeypatch):
    if xp is not np:
        pytest.skip("the tensor is made of NumPy's memory")
    monkeypatch.setitem(sys.modules, "torch", libraries.torch())
    bits = formats.stored(X, "bfloat16")
    objective = SoftmaxObjective(Tensor(bits, "bfloat16"), Y, **OPTIONS)
    rounded = formats.numbers(bits, "bfloat16").astype(np.float32)
    expected = SoftmaxObjective(rounded, Y, **OPTIONS)
    np.testing.assert_array_equal(objective.value_and_grad(HERE)[1], expected.value_and_grad(HERE)[1])
    refined, known = objective.in_float64(), expected.in_float64()
    np.testing.assert_array_equal(refined.value_and_grad(HERE)[1], known.value_and_grad(HERE)[1])
    bits[2, 1] = 0x7F80  # infinity
    with pytest.raises(ValueError, match="X contains NaN or infinity"):
        SoftmaxObjective(Tensor(bits, "bfloat16"), Y, **OPTIONS)


@pytest.mark.parametrize("form", ["bfloat16", "float16"])
def test_predictions_of_narrow_rows_are_float32(form, xp, monkeypatch):
    if xp is not np:
        pytest.skip("the tensor is made of NumPy's memory")
    monkeypatch.setitem(sys.modules, "torch", libraries.torch())
    narrow = formats.stored(X, form)
    wide = formats.numbers(narrow, form).astype(np.float32)
    model = SoftmaxRegression(device="cuda")
    model.coef_, model.intercept_ = HERE[:9].reshape(K, D), HERE[9:]
    model.classes_, model.n_features_in_ = np.arange(K), D
    rows = Tensor(narrow, form) if form == "bfloat16" else Tensor(narrow)
    for method in ("decision_function", "predict_proba", "predict_log_proba"):
        found = getattr(model, method)(rows)
        assert found.a.dtype == np.float32, method
        np.testing.assert_array_equal(found.a, getattr(model, method)(Tensor(wide)).a, method)
    assert model.predict_top_k(rows, 2)[1].a.dtype == np.float32


def test_what_the_benchmark_measures(xp):
    """Rows cut to bfloat16 on the device, and rows for which it has not enough memory."""
    from bench.measure import gpu

    wide = X.astype(np.float32)
    cut = (wide.view(np.uint32) >> 16 << 16).view(np.float32)
    expected = SoftmaxObjective(cut, Y, **OPTIONS).value_and_grad(HERE)[1]
    block = RowBlock(gpu.as_bf16(xp.asarray(wide)), Y, np.ones(N))
    objective = SoftmaxObjective.of_rows(block, n_classes=K, **OPTIONS)
    np.testing.assert_array_equal(objective.value_and_grad(HERE)[1], expected)
    objective = SoftmaxObjective(cut, Y, **OPTIONS)
    with gpu.with_rows_on_the_host():
        np.testing.assert_array_equal(objective.value_and_grad(HERE)[1], expected)
    assert blocks.UPLOADERS in objective._rows.source._blocks[0].X.kept
    assert blocks.has_memory(1)
    for run in gpu.pass_runs(xp, objective).values():
        run()
    assert (
        objective.passes == 6
    )  # two products and two gradients, a gradient above, and the logits that are kept


@rough
@pytest.mark.parametrize("names", [np.array([3, 5, 9]), np.array(["a", "b", "c"]), np.array([-1.0, 1.0])])
def test_a_fit_of_rows_on_the_device(names, library):
    given, kind, fetched = library
    y = names[np.arange(N) % len(names)]
    model = SoftmaxRegression(**ROUGH).fit(given(X), given(y) if y.dtype.kind in "if" else y)
    expected = SoftmaxRegression(**ROUGH).fit(X, y)
    np.testing.assert_array_equal(model.coef_, expected.coef_)
    assert (model.device_, model.solver_) == ("cuda", "lbfgs on cuda")
    for name in ("predict_proba", "predict_log_proba", "decision_function"):
        result = getattr(model, name)(given(X))
        assert isinstance(result, kind)
        np.testing.assert_array_equal(fetched(result), getattr(expected, name)(X))
    predicted, (best, proba) = model.predict(given(X)), model.predict_top_k(given(X), 2)
    assert isinstance(proba, kind)
    words = names.dtype.kind == "U"
    for result, known in ((predicted, expected.predict(X)), (best, expected.predict_top_k(X, 2)[0])):
        assert isinstance(result, np.ndarray if words else kind)
        np.testing.assert_array_equal(result if words else fetched(result), known)
    aims = y if words else given(y)
    assert model.score(given(X), aims) == expected.score(X, y)
    weighted = model.score(given(X), aims, given(WEIGHT))
    assert weighted == expected.score(X, y, WEIGHT)


@rough
def test_other_ways_to_fit(library, tmp_path):
    given, _, _ = library
    weight = given(WEIGHT)
    for options in (
        {"solver": "newton-cg"},
        {"solver": "newton-cholesky"},
        {"class_weight": "balanced"},
        {"checkpoint": tmp_path / "fit"},
    ):
        model = SoftmaxRegression(**ROUGH, **options).fit(given(X), given(Y), weight)
        expected = SoftmaxRegression(**ROUGH, **options).fit(X, Y, WEIGHT)
        np.testing.assert_array_equal(model.coef_, expected.coef_)
    two = given(Y % 2)
    model = SoftmaxRegression(solver="liblinear", **ROUGH).fit(given(X), two)
    expected = SoftmaxRegression(solver="liblinear", **ROUGH).fit(X, Y % 2)
    np.testing.assert_array_equal(model.coef_, expected.coef_)
    several = given(np.eye(K)[Y])
    model = SoftmaxRegression(loss="sigmoid", **ROUGH).fit(given(X), several)
    expected = SoftmaxRegression(loss="sigmoid", **ROUGH).fit(X, np.eye(K)[Y])
    np.testing.assert_array_equal(model.coef_, expected.coef_)
    path = SoftmaxRegression(**ROUGH).fit_path(given(X), given(Y), [0.1, 1.0])
    known = SoftmaxRegression(**ROUGH).fit_path(X, Y, [0.1, 1.0])
    np.testing.assert_array_equal(path[1].coef_, known[1].coef_)
    model, expected = (SoftmaxRegression(**ROUGH) for _ in range(2))
    for part in (slice(0, 6), slice(6, N)):
        model.partial_fit(given(X[part]), given(Y[part]), classes=[0, 1, 2])
        expected.partial_fit(X[part], Y[part], classes=[0, 1, 2])
    np.testing.assert_array_equal(model.coef_, expected.coef_)


def test_auto_leaves_rows_where_they_are(library):
    given, _, _ = library
    objective = SoftmaxObjective(given(X), Y, device="auto")
    assert objective.device == "cuda"
    assert objective.value(HERE) == SoftmaxObjective(X, Y, device="cuda").value(HERE)


def test_the_cpu_says_what_to_do(library):
    given, _, _ = library
    words = "is an array on a GPU, and device='cpu' computes on the host: give device='cuda'"
    with pytest.raises(TypeError, match=f"^X {words}"):
        SoftmaxObjective(given(X), Y)
    with pytest.raises(TypeError, match=f"^y {words}"):
        SoftmaxObjective(X, given(Y))
    with pytest.raises(TypeError, match=f"^sample_weight {words}"):
        SoftmaxObjective(X, Y, sample_weight=given(WEIGHT))
    with pytest.raises(TypeError, match=f"^params {words}"):
        SoftmaxObjective(X, Y).value_and_grad(given(HERE))
    with pytest.raises(TypeError, match=f"^X {words}"):
        SoftmaxRegression().fit(given(X), Y)
    with pytest.raises(TypeError, match=f"^y {words}"):
        SoftmaxRegression().fit(X, given(Y))
    model = SoftmaxRegression(tol=1e-2).fit(X, Y)
    with pytest.raises(TypeError, match=f"^X {words}"):
        model.predict(given(X))


def test_what_is_wrong_with_rows_is_said(library):
    given, _, _ = library
    bad = X.copy()
    bad[7, 1] = np.nan
    cases = [
        (bad, ValueError, "X contains NaN or infinity"),
        (X[0], ValueError, r"X must be a matrix \(n, d\); got shape \(3,\)"),
        (X[:0], ValueError, "minimum of 1 is required"),
        (X[:, :0], ValueError, "one feature"),
        (X + 0j, TypeError, "X must be real numbers; got complex128"),
    ]
    for rows, error, words in cases:
        with pytest.raises(error, match=words):
            SoftmaxObjective(given(rows), Y, **OPTIONS)
        with pytest.raises(error, match=words):
            SoftmaxRegression(device="cuda").fit(given(rows), Y)
    with pytest.raises(ValueError, match="X has 10 rows and y has 9"):
        SoftmaxObjective(given(X), Y[:-1], **OPTIONS)
    objective = SoftmaxObjective(given(X), Y, **OPTIONS)
    with pytest.raises(ValueError, match=r"params must have shape \(12,\); got \(11,\)"):
        objective.value_and_grad(given(HERE[:-1]))
    with pytest.raises(ValueError, match=r"direction must have shape \(12,\); got \(11,\)"):
        objective.hessp(given(HERE), given(ALONG[:-1]))
    with pytest.raises(TypeError, match="params must be real numbers"):
        objective.value_and_grad(given(HERE + 0j))
    with pytest.warns(ConvergenceWarning):
        model = SoftmaxRegression(device="cuda", max_iter=1).fit(given(X), Y)
    with pytest.raises(ValueError, match="expecting 3 features"):
        model.predict(given(X[:, :2]))
