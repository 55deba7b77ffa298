"""Law: every kernel compiles for capability 8.0 and 9.0, keeps to registers, and moves 16 bytes at a time.

It takes no GPU: Numba writes PTX, NVIDIA's linker assembles it and says what it used.
"""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest

numba_cuda = pytest.importorskip("numba_cuda", reason="numba-cuda is not installed")
nvjitlink = pytest.importorskip("cuda.bindings.nvjitlink", exc_type=ImportError)

from numba import cuda, from_dtype, types  # noqa: E402

from fastsoftmax.kernels.cuda import losses, maps, products, runtime, sigmoids  # noqa: E402
from fastsoftmax.kernels.cuda.packs import FORMATS  # noqa: E402
from fastsoftmax.kernels.cuda.shapes import SPLIT_LANES, WARP_BLOCK, Limits  # noqa: E402

if runtime.SIMULATED:
    pytest.skip("the simulator compiles nothing", allow_module_level=True)

CAPABILITIES = [(8, 0), (9, 0)]
LONG = types.int64
REGISTERS = 65536  # of a multiprocessor, for all threads of a block


class Compiled(NamedTuple):
    """What the assembler says of a kernel, and its PTX."""

    spilled: int
    stack: int
    registers: int
    max_threads: int
    ptx: str

    @property
    def vector_loads(self):
        return len(re.findall(r"ld\.global\.v\d\.", self.ptx))

    @property
    def vector_stores(self):
        return len(re.findall(r"st\.global\.v\d\.", self.ptx))


@pytest.fixture(scope="module", autouse=True)
def _capability_of_no_device():
    """Numba asks the current device what inlined functions are compiled for; here there is none."""
    import numba.cuda.dispatcher as dispatcher

    before = dispatcher.get_current_device
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=CAPABILITIES[0])
    yield
    dispatcher.get_current_device = before


def assembled(ptx, capability):
    """The linker's report on PTX."""
    text = ptx.encode()
    options = [f"-arch=sm_{capability[0]}{capability[1]}", "-verbose", "-O3"]
    linker = nvjitlink.create(len(options), options)
    try:
        nvjitlink.add_data(linker, nvjitlink.InputType.PTX, text, len(text), "kernel")
        nvjitlink.complete(linker)
        log = bytearray(nvjitlink.get_info_log_size(linker))
        nvjitlink.get_info_log(linker, log)
    finally:
        nvjitlink.destroy(linker)
    return log.decode()


def compiled(kernel, signature, capability):
    max_threads = kernel.targetoptions["launch_bounds"]
    ptx, _ = cuda.compile_ptx(kernel.py_func, signature, cc=capability, launch_bounds=max_threads)
    report = assembled(ptx, capability)
    stack, stores, loads = re.search(
        r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", report
    ).groups()
    registers = re.search(r"Used (\d+) registers", report)[1]
    return Compiled(int(stores) + int(loads), int(stack), int(registers), max_threads, ptx)


def check(kernel, signature, *, loads, stores):
    for capability in CAPABILITIES:
        result = compiled(kernel, signature, capability)
        assert result.spilled == 0
        assert result.stack == 0
        assert result.registers * result.max_threads <= REGISTERS
        assert result.vector_loads == loads
        assert result.vector_stores == stores


def flat(dtype):
    return from_dtype(np.dtype(dtype))[::1]


def layouts(limits):
    """(whole_block, packs, stage, max_threads) of every shape that a row may have."""
    packs = limits.packs
    return {
        "part of a warp": (False, 1, maps.FUSED, WARP_BLOCK),
        "warp": (False, packs, maps.FUSED, WARP_BLOCK),
        "block": (True, packs, maps.FUSED, limits.lanes),
        "first of two": (True, packs, maps.FIRST, SPLIT_LANES),
        "second of two": (True, packs, maps.SECOND, SPLIT_LANES),
    }


LAYOUTS = list(layouts(Limits(4, 512)))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", maps.MAPS)
def test_maps(name, form, layout):
    shape = layouts(maps.LIMITS[form])[layout]
    _, packs, stage, _ = shape
    kernel = maps.map_kernel(name, form, *shape)
    array, real = flat(FORMATS[form].stored), flat(FORMATS[form].real)
    signature = (array, array, real, LONG, LONG, LONG, types.boolean, LONG, LONG)
    whole = name == "logsumexp"
    # Joining the records of a row takes no second look at it.
    loads = 0 if whole and stage == maps.SECOND else packs
    check(kernel, signature, loads=loads, stores=0 if whole or stage == maps.FIRST else packs)


TARGETS = {"plain": losses.PLAIN, "label": losses.LABEL, "probabilities": losses.SOFT}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("target", TARGETS)
def test_losses(target, form, layout):
    kind = TARGETS[target]
    shape = layouts(losses.LIMITS[kind][form])[layout]
    _, packs, stage, _ = shape
    kernel = losses.loss_kernel(kind, form, *shape)
    real = from_dtype(np.dtype(FORMATS[form].real))
    array, numbers = flat(FORMATS[form].stored), real[::1]
    aim = numbers if kind == losses.SOFT else LONG[::1]
    signature = (
        array, aim, numbers, numbers, types.float64[::1], array, numbers, LONG, LONG, LONG, types.boolean,
        LONG, LONG, LONG, real, real, real, real,
    )  # fmt: skip
    check(kernel, signature, loads=packs, stores=0 if stage == maps.FIRST else packs)


@pytest.mark.parametrize("form", FORMATS)
def test_sigmoids(form):
    array = flat(FORMATS[form].stored)
    for logarithm in (False, True):
        kernel = sigmoids.sigmoid_kernel(logarithm, form)
        check(kernel, (array, array, LONG, LONG, types.boolean), loads=1, stores=1)


@pytest.mark.parametrize("form", FORMATS)
def test_sigmoid_losses(form):
    array, real = flat(FORMATS[form].stored), from_dtype(np.dtype(FORMATS[form].real))
    numbers = real[::1]
    signature = (
        array, numbers, numbers, numbers, types.float64[::1], array, LONG, LONG, LONG, types.boolean, LONG,
        real, real,
    )  # fmt: skip
    for whole_block, threads in ((False, WARP_BLOCK), (True, sigmoids.THREADS)):
        kernel = sigmoids.sigmoid_loss_kernel(form, whole_block, threads)
        check(kernel, signature, loads=1, stores=1)


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_covariances(name):
    numbers = flat(name)
    check(products.covariance_kernel(name), (numbers, numbers, numbers, LONG, LONG), loads=0, stores=0)


@pytest.mark.parametrize("index", [types.int32, types.int64])
@pytest.mark.parametrize("stored", ["float32", "float64"])  # no other entries are kept
@pytest.mark.parametrize("name", ["float32", "float64"])
def test_gathered_products(name, stored, index):
    numbers = flat(name)
    signature = (flat(stored), index[::1], index[::1], numbers, numbers, LONG, LONG)
    check(products.gather_kernel(stored, name), signature, loads=0, stores=0)


def test_sums():
    numbers = flat(np.float64)
    check(products.sum_kernel(), (numbers, LONG, numbers), loads=0, stores=0)
