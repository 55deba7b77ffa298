"""Law: code is emitted for the processor that Numba compiles for, an old one included, not for the host."""

from __future__ import annotations

import json

import numba
import numpy as np
import pytest
from llvmlite import binding

from fastsoftmax.runtime import cpu_level
from fastsoftmax.runtime.cpu_level import Level, level_of
from tests.interpreter import run_python

IS_X86 = binding.get_process_triple().startswith("x86_64")
only_x86 = pytest.mark.skipif(not IS_X86, reason="levels of x86-64 are told apart")
OLD = Level(f16c=False, fma=False, wide_registers=False)
AVX2 = Level(f16c=True, fma=True, wide_registers=False)
AVX512 = Level(f16c=True, fma=True, wide_registers=True)
SETTINGS = {"CPU_NAME": None, "CPU_FEATURES": None, "ENABLE_AVX": True}


@pytest.fixture
def level_under(monkeypatch):
    """What is said of the target under some of Numba's settings, the others as by default."""

    def level(**settings):
        for name, value in (SETTINGS | settings).items():
            monkeypatch.setattr(numba.config, name, value)
        cpu_level._target_level.cache_clear()
        return Level(cpu_level.has_f16c(), cpu_level.has_fma(), cpu_level.has_wide_registers())

    yield level
    cpu_level._target_level.cache_clear()


@only_x86
@pytest.mark.parametrize(
    ("name", "features", "level"),
    [
        ("x86-64", "", OLD),
        ("x86-64-v2", "", OLD),
        ("x86-64-v3", "", AVX2),
        ("x86-64-v4", "", AVX512),
        ("generic", "", OLD),
        ("ivybridge", "", OLD._replace(f16c=True)),
        ("bdver1", "", OLD._replace(fma=True)),  # the fused multiply-adds of AMD's own
        ("x86-64-v2", "+avx512f", AVX512),  # which implies the others
        ("x86-64-v4", "-avx", OLD),
        ("haswell", "-fma", AVX2._replace(fma=False)),
    ],
)
def test_levels_of_processors(name, features, level):
    assert level_of(name, features) == level


@only_x86
def test_the_host_decides_where_nothing_is_set(level_under):
    name, features = binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten()
    assert level_under() == level_of(name, features)


@only_x86
def test_settings_decide(level_under):
    for name, level in (("x86-64-v2", OLD), ("x86-64-v3", AVX2), ("x86-64-v4", AVX512)):
        assert level_under(CPU_NAME=name, CPU_FEATURES="") == level
    assert level_under(CPU_FEATURES="-avx") == OLD
    # Numba adds the host's features to a name alone
    assert level_under(CPU_NAME="x86-64-v2") == level_under()
    assert not level_under(ENABLE_AVX=False).wide_registers


def test_other_machines_have_all_but_wide_registers(level_under, monkeypatch):
    monkeypatch.setattr(binding, "get_process_triple", lambda: "aarch64-unknown-linux-gnu")
    monkeypatch.setattr(binding, "get_host_cpu_features", lambda: 1 / 0)
    assert level_under() == AVX2


@only_x86
def test_a_system_whose_features_are_not_known(level_under, monkeypatch):
    def unknown():
        raise RuntimeError("unknown")

    monkeypatch.setattr(binding, "get_host_cpu_features", unknown)
    assert level_under(CPU_NAME="x86-64") == OLD


def test_importing_it_loads_no_compiler():
    code = """
        import sys, fastsoftmax.runtime.cpu_level
        print(sorted({"numba", "llvmlite"} & set(sys.modules)))
    """
    assert run_python(code)[:2] == (0, "[]")


@only_x86
def test_a_fit_for_a_processor_without_the_instructions(tmp_path):
    code = """
        import json
        import sys
        import numpy as np
        from fastsoftmax import SoftmaxRegression, softmax
        from fastsoftmax.runtime.cpu_level import has_f16c, has_fma

        assert not has_f16c() and not has_fma()
        X, y = (np.array(a) for a in json.loads(sys.argv[1]))
        X = X.astype(np.float16)
        model = SoftmaxRegression().fit(X, y)
        found = model.coef_, model.intercept_, model.predict_proba(X), softmax(X, axis=1)
        print(json.dumps([a.astype(float).tolist() for a in found]))
    """
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(90, 7)).astype(np.float16).astype(float), rng.integers(0, 3, 90)
    settings = {"NUMBA_CPU_NAME": "x86-64-v2", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    status, out, err = run_python(code, json.dumps([X.tolist(), y.tolist()]), timeout=400, **settings)
    assert status == 0, err
    coef, intercept, proba, rows = map(np.array, json.loads(out))

    def softmax(z):
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    exact = softmax(X @ coef.T + intercept)
    np.testing.assert_allclose(proba, exact, rtol=1e-5)
    # at the optimum: the mean gradient, with a penalty of 1 / (2 n)
    slopes = exact - np.eye(3)[y]
    np.testing.assert_allclose(slopes.T @ X / len(X) + coef / len(X), 0, atol=1e-3)
    np.testing.assert_allclose(slopes.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(rows, softmax(X), rtol=2.0**-10, atol=2.0**-24)
