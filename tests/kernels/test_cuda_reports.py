"""Law: what is compiled for a GPU is reported like what is for the CPU; it is not kept on disk."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace

import pytest

if importlib.util.find_spec("numba_cuda") is None:
    pytest.skip("numba-cuda is not installed", allow_module_level=True)

from fastsoftmax.kernels.cuda import runtime
from fastsoftmax.runtime import compiling


class Dispatcher:
    """Compiles at a launch with arguments of new types, as Numba's does."""

    def __init__(self, function):
        self.function, self.code = function, {}

    def compile(self, signature):
        self.code[signature] = self.function
        return self.function

    def launched(self, argument):
        signature = type(argument)
        return (self.code.get(signature) or self.compile(signature))(argument)


def test_a_kernel_is_reported_once_for_its_types(monkeypatch):
    monkeypatch.setattr(runtime, "SIMULATED", False)
    monkeypatch.setattr(runtime, "cuda", SimpleNamespace(jit=lambda **options: Dispatcher))

    def doubled(x):
        return 2 * x

    kernel, seen = runtime.kernel(doubled, 256), []
    with compiling.reporting(seen.append):
        assert [kernel.launched(x) for x in (2, 3, 4.0)] == [4, 6, 8.0]
    assert [(each.name, each.n_done) for each in seen] == [("doubled", 0), ("", 1), ("doubled", 1), ("", 2)]
    assert "in every process" in str(seen[0])


@pytest.mark.skipif(runtime.SIMULATED, reason="the simulator compiles nothing")
def test_numbas_kernels_compile_by_the_method_that_is_watched():
    from numba.cuda import dispatcher

    names = dispatcher.CUDADispatcher._compile_for_args.__code__.co_names
    assert "compile" in names
