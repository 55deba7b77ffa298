"""The extension module that calls kernels, compiled once, and kernels in C for it to call."""

from __future__ import annotations

import ctypes
import subprocess

import numpy as np
import pytest

from fastsoftmax.aot import link
from fastsoftmax.runtime import library
from tests.aot.values import NAMES

KERNELS = """
#include <stdint.h>
#include <unistd.h>

/* Logs what it is called with in its first argument, an i8 array of one dimension
   (slots 0 to 6): the span from item 1 on, then as many slots as item 0 says. */
int32_t record(int64_t start, int64_t stop, int64_t part, const int64_t *block)
{
    int64_t *log = (int64_t *)block[4];
    int64_t count = log[0];
    log[1] = start; log[2] = stop; log[3] = part;
    for (int64_t i = 0; i < count; i++)
        log[4 + i] = block[7 + i];
    return 0;
}

/* Adds part to the items from start to stop of an f8 array. */
int32_t add(int64_t start, int64_t stop, int64_t part, const int64_t *block)
{
    double *data = (double *)block[4];
    for (int64_t i = start; i < stop; i++)
        data[i] += part;
    return 0;
}

int32_t out_of_memory(int64_t start, int64_t stop, int64_t part, const int64_t *block)
{
    return 1;
}

int32_t sleep_long(int64_t start, int64_t stop, int64_t part, const int64_t *block)
{
    usleep(100000);
    return 0;
}
"""


@pytest.fixture(scope="package")
def compiled(tmp_path_factory):
    """A folder for what is compiled, where there is a compiler."""
    try:
        link.compiler()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    return tmp_path_factory.mktemp("kernels")


@pytest.fixture(scope="package")
def entries(compiled):
    """The extension module."""
    return library._extension(link.extension(compiled))


@pytest.fixture(scope="package")
def kernel(compiled):
    """The address of a kernel in C by its name."""
    (compiled / "kernels.c").write_text(KERNELS)
    file = compiled / "kernels.so"
    command = [*link.compiler(), "-O1", "-shared", "-fPIC", compiled / "kernels.c", "-o", file]
    subprocess.run(command, check=True)
    shared = ctypes.CDLL(str(file))
    return lambda name: ctypes.cast(shared[name], ctypes.c_void_p).value


@pytest.fixture(scope="package")
def describe(entries):
    """The signature of arguments, as an entry writes it."""
    return entries.Entry("describe", {}, NAMES).signature


@pytest.fixture
def blocks(entries, kernel):
    """The first `count` slots that a kernel gets for its arguments."""

    def called(*arguments, count):
        log = np.zeros(4 + count, np.int64)
        log[0] = count
        signature = entries.Entry("", {}, NAMES).signature(log, *arguments)
        entry = entries.Entry("record", {signature: kernel("record")}, NAMES)
        assert entry.call(-5, 2**40, 7, log, *arguments) is True
        assert log[1:4].tolist() == [-5, 2**40, 7]
        slots = log[4:].copy()
        log[1:] = 0
        assert entry.bind(log, *arguments).call(-5, 2**40, 7) is None
        assert log[1:4].tolist() == [-5, 2**40, 7]
        assert (log[4:] == slots).all()
        return slots

    return called
