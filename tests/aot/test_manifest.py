"""Law: the manifest names every kernel that is called, each for arguments that it can be compiled for."""

from __future__ import annotations

import importlib
import pkgutil
import re
from typing import NamedTuple

import numba
import pytest

from fastsoftmax.aot import objects
from fastsoftmax.runtime import native, signatures
from fastsoftmax.runtime.jit import MANIFEST
from fastsoftmax.runtime.kernels import Kernel

CALLERS = ("fastsoftmax.kernels.cpu", "fastsoftmax.linalg")


def kernels():
    """All kernels that modules refer to, by where they stand."""
    for folder in CALLERS:
        package = importlib.import_module(folder)
        for module in pkgutil.iter_modules(package.__path__, f"{folder}."):
            for found in vars(importlib.import_module(module.name)).values():
                if isinstance(found, Kernel):
                    yield found


def test_every_kernel_that_is_called_is_in_the_manifest_and_no_other():
    objects.load_all()
    called = {(kernel.module, kernel.name) for kernel in kernels()}
    declared = {key for key, each in MANIFEST.items() if each.is_kernel and key[0].startswith("fastsoftmax.")}
    assert called == declared
    assert len(called) > 40
    assert [key for key in declared if not MANIFEST[key].signatures] == []


@pytest.mark.parametrize("kernel", list(kernels()), ids=lambda kernel: f"{kernel.module}.{kernel.name}")
def test_a_kernel_is_called_as_it_is_written(kernel):
    """Its third argument says whether its result depends on the parts."""
    function = MANIFEST[kernel.module, kernel.name].dispatcher.py_func
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    assert kernel.divisible == (names[2] == "_")
    for signature in MANIFEST[kernel.module, kernel.name].signatures:
        assert len(list(signatures.parts(signature))) == len(names) - 3, signature


def test_symbols_are_names_of_c_and_unique():
    symbols = [function.symbol for function in objects.functions()]
    assert len(set(symbols)) == len(symbols)
    assert all(re.fullmatch(r"[A-Za-z]\w+", symbol) for symbol in symbols)


def test_signatures_stand_for_numbas_types():
    """What a signature says, and what Numba takes the same arguments for."""
    for function in objects.functions():
        for kind, part in zip(
            native.kinds(function.signature), signatures.parts(function.signature), strict=True
        ):
            if "(" in part:
                name = part.partition("(")[0]
                assert name == signatures.NAMES.get(getattr(kind, "instance_class", None), "")
                assert len(kind) == len(list(signatures.parts(part[len(name) + 1 : -1])))
            elif ":" in part:
                dtype = numba.np.numpy_support.as_dtype(kind.dtype)
                assert f"{dtype.kind}{dtype.itemsize}:{kind.ndim}{kind.layout}" == part
            else:
                assert str(kind) == {"q": "int64", "d": "float64", "?": "bool"}[part]


def test_two_classes_of_one_name_are_refused():
    class Stored(NamedTuple):
        address: int

    with pytest.raises(ValueError, match="both have a class Stored"):
        signatures.named(Stored)
    assert Stored not in signatures.NAMES
