"""Law: without a GPU, `device="cuda"` says why, the CPU works, and the kernels' logic is tested."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys

import numpy as np
import pytest

import fastsoftmax
from tests.interpreter import ROOT, run_python

HAS_NUMBA_CUDA = importlib.util.find_spec("numba_cuda") is not None
needs_numba_cuda = pytest.mark.skipif(not HAS_NUMBA_CUDA, reason="numba-cuda is not installed")


@needs_numba_cuda
@pytest.mark.parametrize(
    "name", ["test_rows", "test_verbs", "test_functions", "test_loss_functions", "test_external", "test_fits"]
)
def test_in_the_simulator(name):
    """Run tests/kernels/cuda in Numba's simulator, which has to be chosen before Numba is imported."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"tests/kernels/cuda/{name}.py",
    ]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "PYTHONWARNINGS": ""},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    counted = re.search(r"(\d+) passed", done.stdout)
    assert counted is not None
    assert int(counted[1]) > 10


def test_why_not_is_said_and_the_cpu_works():
    code = """
        import fastsoftmax
        try:
            fastsoftmax.SoftmaxObjective([[1.0], [2.0]], [0, 1], device="cuda")
        except fastsoftmax.DeviceUnavailable as error:
            print(error)
        else:
            print("device 'cuda' works here")
        print(fastsoftmax.SoftmaxObjective([[1.0], [2.0]], [0, 1]).value([0.0, 0.0, 0.0, 0.0]))
    """
    status, output, errors = run_python(code)
    assert status == 0, errors
    said, value = output.splitlines()
    assert said.startswith("device 'cuda'")
    np.testing.assert_allclose(float(value), np.log(2.0))


def test_a_missing_package_is_named():
    code = """
        import importlib.util
        find_spec = importlib.util.find_spec
        importlib.util.find_spec = lambda name, *rest: None if name == "numba_cuda" else find_spec(name)
        import fastsoftmax
        from fastsoftmax import devices
        try:
            devices.get("cuda")
        except fastsoftmax.DeviceUnavailable as error:
            print(error)
    """
    status, output, errors = run_python(code)
    assert status == 0, errors
    assert "numba-cuda is not installed" in output
    assert "fastsoftmax[cuda]" in output


def test_a_broken_package_is_told_from_a_missing_one(tmp_path):
    package = tmp_path / "numba_cuda"
    package.mkdir()
    (package / "__init__.py").touch()
    code = """
        import sys
        import numba
        sys.modules["numba.cuda"] = None  # an import of it fails from now on
        if hasattr(numba, "cuda"):
            del numba.cuda
        import fastsoftmax
        from fastsoftmax import devices
        try:
            devices.get("cuda")
        except fastsoftmax.DeviceUnavailable as error:
            print(error)
    """
    path = os.pathsep.join([str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH", "")])
    status, output, errors = run_python(code, PYTHONPATH=path)
    assert status == 0, errors
    assert "cannot be imported" in output


def test_one_module_imports_what_belongs_to_the_gpu():
    package = ROOT / "fastsoftmax"
    imports = re.compile(
        r"^\s*(from numba import .*\bcuda\b|(from|import) (numba\.cuda|cupy|cuda)\b)|import_module\(", re.M
    )
    found = [path.relative_to(package).as_posix() for path in sorted(package.rglob("*.py"))
             if imports.search(path.read_text(encoding="utf-8"))]  # fmt: skip
    # The others load modules of this package, or those whose private parts they check.
    assert found == [
        "aot/objects.py",
        "kernels/cuda/runtime.py",
        "runtime/lazy_imports.py",
        "runtime/private_parts.py",
        "runtime/self_test.py",
    ]


class Status(int):
    """A status of the driver's, as its bindings have it."""

    name: str


def status(code, name):
    value = Status(code)
    value.name = name
    return value


@needs_numba_cuda
def test_no_driver_and_no_gpu_are_told_apart():
    from fastsoftmax.kernels.cuda.runtime import reason_against

    def without_library():
        raise OSError("libcuda.so.1: cannot open shared object file")

    assert "driver is not installed" in reason_against(without_library)
    assert "libcuda.so.1" in reason_against(without_library)
    assert "no NVIDIA GPU" in reason_against(lambda: (status(100, "CUDA_ERROR_NO_DEVICE"),))
    broken = reason_against(lambda: (status(803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"),))
    assert "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH" in broken
    assert reason_against(lambda: (status(0, "CUDA_SUCCESS"),)) is None


class Broken:
    """Array functions whose libraries fail when they are first needed, or do worse."""

    def __init__(self, error=None, value=8.0):
        self.error, self.value = error, value

    def ones(self, shape, dtype):
        return self

    def __matmul__(self, other):
        if self.error is not None:
            raise self.error
        return self

    def sum(self):
        return self.value


@needs_numba_cuda
def test_array_functions_that_cannot_compute_are_a_broken_install():
    from fastsoftmax.kernels.cuda.runtime import check_arrays

    check_arrays(Broken())
    check_arrays(np)
    missing = ImportError("libcublas.so.13: cannot open shared object file\nand a long explanation")
    with pytest.raises(fastsoftmax.DeviceUnavailable, match=r"cannot compute .*: libcublas.so.13: [^\n]*$"):
        check_arrays(Broken(missing))
    with pytest.raises(fastsoftmax.DeviceUnavailable, match=r"cannot compute .*: RuntimeError$"):
        check_arrays(Broken(RuntimeError()))
    with pytest.raises(fastsoftmax.DeviceUnavailable, match="computes wrongly"):
        check_arrays(Broken(value=7.5))


@needs_numba_cuda
def test_missing_bindings_are_a_broken_install():
    code = """
        import sys
        sys.modules["cuda.bindings.driver"] = None  # an import of it fails from now on
        import cuda.bindings
        if hasattr(cuda.bindings, "driver"):
            del cuda.bindings.driver
        import fastsoftmax
        from fastsoftmax import devices
        try:
            devices.get("cuda")
        except fastsoftmax.DeviceUnavailable as error:
            print(error)
    """
    status, output, errors = run_python(code)
    assert status == 0, errors
    assert "cannot be imported" in output
    assert "fastsoftmax[cuda]" in output


def test_an_unknown_device_is_none():
    with pytest.raises(ValueError, match="device must be one of 'cpu', 'cuda'"):
        fastsoftmax.SoftmaxObjective([[1.0], [2.0]], [0, 1], device="tpu")


@needs_numba_cuda
def test_rows_are_handed_out_whole():
    from fastsoftmax.kernels.cuda.packs import FORMATS
    from fastsoftmax.kernels.cuda.shapes import Limits, max_packs, shape_of

    for form in FORMATS.values():
        for n_classes in (*range(1, 700, 3), 1024, 4095, 8192, 8193, 16384, 16385, 50257, 128256, 262144):
            for lead in range(form.per_pack):
                shape = shape_of(5, n_classes, lead, form, Limits(4, 512))
                held = shape.parts * shape.packs << shape.bits
                assert held >= max_packs(n_classes, lead, form.per_pack)
                assert shape.block % (1 << shape.bits) == 0
                assert shape.block <= shape.max_threads
                assert shape.blocks(5) * shape.block >= (5 * shape.parts) << shape.bits
                assert 1 <= shape.rows <= 5
    assert not shape_of(5, 8192, 0, FORMATS["float32"], Limits(4, 512)).split
    assert shape_of(5, 8196, 0, FORMATS["float32"], Limits(4, 512)).split


@needs_numba_cuda
def test_a_row_touches_no_more_packs_than_it_is_given():
    from fastsoftmax.kernels.cuda.shapes import max_packs

    for count in (2, 4, 8):
        for n_classes in range(1, 40):
            for lead in range(count):
                starts = [(lead + row * n_classes) % count for row in range(2 * count)]
                touched = max(-(-(start + n_classes) // count) for start in starts)
                assert touched <= max_packs(n_classes, lead, count)


def test_bfloat16_is_rounded_to_the_nearest_even():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    pytest.importorskip("numba_cuda")
    from fastsoftmax.kernels.cuda.packs import rounded_bf16

    rng = np.random.default_rng(0)
    values = rng.integers(0, 2**32, 4000, dtype=np.uint32).view(np.float32)
    values = np.append(values, np.float32([0.0, -0.0, np.inf, -np.inf, 1.00390625, 1.01171875, 3.4e38]))
    with np.errstate(all="ignore"):
        expected = values.astype(ml_dtypes.bfloat16).astype(np.float32)
    bits = np.array([rounded_bf16(value) for value in values])
    own = (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
    np.testing.assert_array_equal(own, expected)


class Elsewhere:
    """What an array on a GPU says of itself."""

    def __dlpack_device__(self):
        return 2, 0


def test_an_array_on_a_gpu_is_no_array_of_the_host():
    class Here:
        def __dlpack_device__(self):
            return 1, 0

    from fastsoftmax import devices

    assert devices.elsewhere(Here()) is None
    assert devices.elsewhere([1.0, 2.0]) is None
    try:
        device = devices.elsewhere(Elsewhere())
    except fastsoftmax.DeviceUnavailable as error:
        reason = re.escape(str(error))
        for function in (fastsoftmax.softmax, fastsoftmax.logsumexp):
            with pytest.raises(fastsoftmax.DeviceUnavailable, match=reason):
                function(Elsewhere())
        with pytest.raises(fastsoftmax.DeviceUnavailable, match=reason):
            fastsoftmax.cross_entropy(Elsewhere(), [0])
    else:
        assert device is devices.get("cuda")


def test_the_benchmark_refuses_in_one_line():
    try:
        from fastsoftmax import devices

        devices.get("cuda")
    except fastsoftmax.DeviceUnavailable as error:
        reason = str(error)
    else:
        pytest.skip("there is a GPU")
    pytest.importorskip("pytest_benchmark")
    command = [sys.executable, "-m", "bench", "gpu"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert done.stderr.strip() == reason
    assert done.stdout == ""


def test_the_benchmarks_plots(tmp_path):
    pytest.importorskip("matplotlib")
    from bench.measure import gpu
    from bench.report import gpu_plots

    speeds = {"fastsoftmax": 2000.0, "copy": 2500.0}
    found = {
        "gpu": "a GPU",
        "rows": [
            {"operation": operation, "dtype": form, "classes": k, "gb_per_s": speeds}
            for operation in ("softmax", "cross_entropy")
            for form in ("float32", "bfloat16")
            for k in gpu.CLASSES
        ],
        "passes": [
            {
                "problem": "dense",
                "dtype": form,
                "place": place,
                "seconds": {"value_and_grad": 2.0, "products": 1.0},
            }
            for form, place in (
                ("float32", "on the GPU"),
                ("bfloat16", "on the GPU"),
                ("float32", "on the host"),
            )
        ],
        "fit": {"history": [[0.0, 7.0, 6.0, 1], [1.0, 5.0, 0.5, 9], [2.0, 4.9, None, 12]]},
    }
    pictures = gpu_plots.draw(found, tmp_path / "gpu.json")
    assert [picture.name for picture in pictures] == [
        "gpu_softmax.png",
        "gpu_cross_entropy.png",
        "gpu_passes.png",
        "gpu_fit.png",
    ]
    assert all(picture.stat().st_size > 1000 for picture in pictures)
