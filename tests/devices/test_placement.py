"""Law: "auto" goes by the size of the problem, says where it went, and without a GPU is the CPU, silently."""

from __future__ import annotations

import sys
import types
import warnings

import numpy as np
import pytest
import scipy.sparse as sp

from fastsoftmax import DeviceUnavailable, SoftmaxObjective, SoftmaxRegression, devices
from fastsoftmax.contracts import Halves
from fastsoftmax.data.validation import design_matrix
from fastsoftmax.devices import placement
from fastsoftmax.kernels import cpu
from fastsoftmax.objective import direct
from fastsoftmax.sources.array import with_transpose
from tests.problems import dataset


@pytest.fixture
def gpu(monkeypatch):
    """A GPU that is the CPU by another name. Its `buffer` in bytes may be set; `lost` takes it away."""
    device = types.ModuleType("tests.a_gpu")
    device.__dict__.update({name: value for name, value in vars(cpu).items() if not name.startswith("__")})
    device.buffer, device.lost, device.asked = float("inf"), False, 0

    def require():
        device.asked += 1
        if device.lost:
            raise DeviceUnavailable("device 'cuda': it is lost")

    device.require = require
    device.has_memory = lambda n_bytes: n_bytes <= device.buffer
    monkeypatch.setitem(sys.modules, device.__name__, device)
    monkeypatch.setitem(devices.DEVICES, "cuda", device.__name__)
    devices.get.cache_clear()
    yield device
    devices.get.cache_clear()


@pytest.fixture
def quick(monkeypatch):
    """A GPU that starts and is called in no time: it is chosen for more than a few numbers."""
    monkeypatch.setattr(placement, "START_SECONDS", 0.0)
    monkeypatch.setattr(placement, "LAUNCH_SECONDS", 0.0)


class Shaped:
    """All that the choice asks of rows."""

    def __init__(self, *shape, dtype=np.float32):
        self.shape, self.dtype = shape, np.dtype(dtype)


@pytest.mark.parametrize(
    ("rows", "n_outputs", "expected"),
    [
        (Shaped(1_280_000, 2048), 1000, "cuda"),
        (Shaped(1_000_000, 512), 100, "cuda"),
        (Shaped(1_280_000, 2048, dtype=np.float64), 1000, "cuda"),
        (Shaped(1_797, 64), 10, "cpu"),
        (Shaped(60_000, 784, dtype=np.uint8), 10, "cpu"),  # 2 s of passes in all
        (Shaped(1, 1), 1, "cpu"),
        (Shaped(10, 100_000), 100, "cpu"),  # the gradients' copies would be the most of it
    ],
)
def test_the_choice_goes_by_size(rows, n_outputs, expected, gpu, monkeypatch):
    monkeypatch.setattr(placement, "_n_cores", lambda: 16)
    assert devices.settled("auto", rows, n_outputs) == expected
    assert devices.settled("cpu", rows, n_outputs) == "cpu"
    assert devices.settled("cuda", rows, n_outputs) == "cuda"


def test_a_gpu_is_not_looked_for_where_it_would_not_be_chosen(gpu):
    assert devices.settled("auto", Shaped(1_797, 64), 10) == "cpu"
    assert gpu.asked == 0
    assert devices.settled("auto", Shaped(1_280_000, 2048), 1000) == "cuda"
    assert gpu.asked == 1


def test_one_reading_is_worth_less_than_a_fit(gpu, monkeypatch):
    monkeypatch.setattr(placement, "_n_cores", lambda: 16)
    rows = Shaped(1_000_000, 512)
    assert devices.settled("auto", rows, 100) == "cuda"
    assert devices.settled("auto", rows, 100, passes=0.5) == "cpu"


def test_rows_that_do_not_fit_are_copied_each_time(gpu, monkeypatch):
    monkeypatch.setattr(placement, "_n_cores", lambda: 16)
    many, few = Shaped(1_280_000, 2048), Shaped(2_000_000, 512)
    n_classes = 1000, 30
    for rows, k in zip((many, few), n_classes, strict=True):
        gpu.buffer = float("inf")
        assert devices.settled("auto", rows, k) == "cuda"
        gpu.buffer = 1e9
        # 4 K flops for each 4 bytes: with few classes the copies take longer than the CPU.
        assert devices.settled("auto", rows, k) == ("cuda" if k == 1000 else "cpu")


def test_a_gpu_that_is_slow_in_float64(gpu, monkeypatch):
    monkeypatch.setattr(placement, "_n_cores", lambda: 16)
    gpu.float64_speed = lambda: 1 / 64
    rows = Shaped(1_280_000, 2048, dtype=np.float64)
    assert devices.settled("auto", rows, 1000) == "cpu"
    assert gpu.asked == 1
    assert devices.settled("auto", Shaped(1_280_000, 2048), 1000) == "cuda"


def test_the_numbers_of_the_estimate(monkeypatch):
    monkeypatch.setattr(placement, "_n_cores", lambda: 2)
    n_bytes, on_cpu, on_gpu = placement._estimate(Shaped(1000, 100), 50, 10, 0.5)
    assert n_bytes == 4 * 1000 * 100
    flops = 4.0 * 1000 * 100 * 50
    np.testing.assert_allclose(on_cpu, 10 * flops / (2 * placement.CPU_FLOPS[4]))
    vectors = 2 * 8 * 50 * 101
    each = placement.LAUNCH_SECONDS + vectors / placement.COPY_BYTES + flops / placement.GPU_FLOPS
    np.testing.assert_allclose(on_gpu, placement.START_SECONDS + n_bytes / placement.COPY_BYTES + 10 * each)
    wide = placement._estimate(Shaped(1000, 100, dtype=np.float64), 50, 10, 0.125)
    assert wide[0] == 2 * n_bytes
    np.testing.assert_allclose(wide[1], 2 * on_cpu)
    copied, computed = n_bytes / placement.COPY_BYTES, 10 * flops / placement.GPU_FLOPS
    np.testing.assert_allclose(wide[2] - on_gpu, copied + 7 * computed)
    reading = placement._estimate(Shaped(10**8, 1), 1, 1, 0.5)  # of which few flops are made
    np.testing.assert_allclose(reading[1], 4e8 / placement.CPU_BYTES)


def test_all_kinds_of_rows_have_a_size():
    X = sp.random_array((40, 9), density=0.3, rng=np.random.default_rng(0), format="csr")
    rows = with_transpose(design_matrix(X))
    n_bytes, on_cpu, _ = placement._estimate(rows, 5, 1, 0.5)
    assert n_bytes == X.data.nbytes + X.indices.nbytes + X.indptr.nbytes
    assert on_cpu > 0
    half = design_matrix(np.ones((8, 3), np.float16))
    assert isinstance(half, Halves)
    assert placement._estimate(half, 5, 1, 0.5)[0] == 8 * 3 * 2


def test_a_fit_says_where_it_was(gpu, quick, monkeypatch):
    monkeypatch.setattr(direct, "MAX_SECONDS", 0.0)  # the solver of small problems runs on the CPU only
    X, y = dataset("wine")
    for device, name, words in (("cpu", "cpu", "lbfgs"), ("auto", "cuda", "lbfgs on cuda")):
        model = SoftmaxRegression(device=device).fit(X, y)
        assert model.device_ == name
        assert model.solver_ == words
    assert SoftmaxObjective(X, y, device="auto").device == "cuda"
    expected = SoftmaxRegression().fit(X, y)
    np.testing.assert_array_equal(model.coef_, expected.coef_)
    np.testing.assert_array_equal(model.predict_proba(X), expected.predict_proba(X))
    model = SoftmaxRegression(device="auto").partial_fit(X, y, classes=np.unique(y))
    assert (model.device_, model.solver_) == ("cuda", "lbfgs on cuda")


def test_without_a_gpu_it_is_the_cpu_and_nothing_is_said(gpu, quick, capsys):
    gpu.lost = True
    X, y = dataset("wine")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = SoftmaxRegression(device="auto").fit(X, y)
    assert (model.device_, model.solver_) == ("cpu", "lbfgs")
    assert gpu.asked > 0
    assert capsys.readouterr() == ("", "")
    with pytest.raises(DeviceUnavailable, match="it is lost"):
        SoftmaxRegression(device="cuda").fit(X, y)


def test_where_it_was_is_kept_with_the_model(gpu, quick, tmp_path):
    X, y = dataset("wine")
    model = SoftmaxRegression(device="auto").fit(X, y)
    model.save(tmp_path / "model")
    restored = SoftmaxRegression.load(tmp_path / "model")
    assert (restored.device_, restored.solver_) == ("cuda", "lbfgs on cuda")
    assert restored.device == "cpu"  # a choice for the machine, not a part of the model


def test_a_checkpoint_is_of_the_device_that_ran(gpu, quick, tmp_path):
    """Its bits are: a fit that "auto" began on one is not to go on upon another."""
    X, y = dataset("wine")

    from fastsoftmax.persistence import checkpoint

    path = tmp_path / "fit"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "SECONDS", -1.0)
        with pytest.raises(KeyboardInterrupt):
            SoftmaxRegression(device="auto", checkpoint=path, callbacks=[stopping(3)]).fit(X, y)
    assert path.exists()
    with pytest.raises(ValueError, match="it had other device"):
        SoftmaxRegression(device="cpu", checkpoint=path).fit(X, y)
    assert SoftmaxRegression(device="cuda", checkpoint=path).fit(X, y).device_ == "cuda"


def stopping(after):
    """Return a callback that is interrupted at a step."""
    left = [after]

    def callback(record):
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt

    return callback


@pytest.mark.parametrize("device", ["gpu", "CUDA", "", None, 0])
def test_there_are_three_devices(device):
    X, y = dataset("wine")
    with pytest.raises(ValueError, match="device"):
        SoftmaxRegression(device=device).fit(X, y)
    with pytest.raises(ValueError, match="device must be one of 'cpu', 'cuda', 'auto'"):
        SoftmaxObjective(X, y, device=device)
