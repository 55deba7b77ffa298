"""Law: a fit reads X as it is, and takes no more memory beside it than what its parameters ask for."""

from __future__ import annotations

import pytest

from tests.interpreter import PEAK_MEMORY, run_python

FIT = """
    import warnings
    from fastsoftmax import SoftmaxRegression
    warnings.simplefilter("ignore")  # so few steps do not converge
    def fit(X, y):
        return SoftmaxRegression(max_iter=15).fit(X, y)
    # Compiling takes memory of its own: on a small problem, with work enough for the kernels of many threads.
    small = rng.integers(0, 256, (6_000, 784)).astype(sys.argv[2])
    fit(small, np.arange(6_000) % 10)
    with np.load(sys.argv[1]) as archive:
        X, y = archive["X_train"], archive["y_train"].astype(np.int64)
    X = X if X.dtype == sys.argv[2] else X.astype(sys.argv[2])
    if os.path.exists("/proc/self/clear_refs"):
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # the peak starts afresh from what is held now
    before = peak()
    model = fit(X, y)
    print(peak() - before, model.coef_.size + model.intercept_.size, X.nbytes)
"""


@pytest.mark.data
@pytest.mark.parametrize("dtype", ["uint8", "float16"])
def test_a_fit_holds_no_copy_of_X(dtype, data_dir):
    # 60,000 x 784: 47 MB of uint8, which as float32 would be 188; the parameters are 63 kB
    pytest.importorskip("resource", reason="this system does not tell a process's peak memory")
    path = data_dir / "fashion_mnist.npz"
    if not path.exists():
        pytest.skip(f"no {path}")
    status, out, err = run_python(PEAK_MEMORY + FIT, str(path), dtype)
    assert status == 0, err
    taken, n_params, n_bytes = map(int, out.split())
    assert taken <= 64 * 2**20 + 24 * 8 * n_params < 2 * n_bytes
