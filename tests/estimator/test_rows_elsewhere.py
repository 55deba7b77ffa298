"""Law: a fit to rows that are read by blocks ends at the certified optimum of the same rows in memory."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.exceptions import NotFittedError

from fastsoftmax import SoftmaxObjective, SoftmaxRegression, SoftmaxRegressionCV, load, open_rows, rows_from
from fastsoftmax.contracts import Record
from fastsoftmax.data.blocks.targets import Targets
from fastsoftmax.persistence import checkpoint
from tests.data.blocks import files

TOL = 1e-6
N, D = 3000, 12


def problem(n_classes, *, sparse=False, dtype=np.float64):
    rng = np.random.default_rng(n_classes)
    X = rng.normal(size=(N, D))
    X = np.where(np.abs(X) > 0.8, X, 0.0) if sparse else X
    logits = X @ rng.normal(size=(D, n_classes))
    y = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    names = np.array([f"class {k}" for k in range(n_classes)])
    X = X.astype(dtype)
    return (sp.csr_array(X) if sparse else X), names[y], rng.uniform(0.5, 2.0, N)


def in_blocks(X, y, w=None, step=170, memory="64K"):
    def make():
        for start in range(0, X.shape[0], step):
            part = slice(start, start + step)
            yield (X[part], y[part]) if w is None else (X[part], y[part], w[part])

    return rows_from(make, memory=memory)


def assert_same_optimum(found, expected):
    assert found.duality_gap_ <= TOL * found.objective_
    assert abs(found.objective_ - expected.objective_) <= 2 * TOL * expected.objective_
    assert found.classes_.tolist() == expected.classes_.tolist()
    assert found.classes_.dtype == expected.classes_.dtype
    assert found.n_features_in_ == expected.n_features_in_
    assert found.coef_.shape == expected.coef_.shape
    assert found.coef_.dtype == expected.coef_.dtype


@pytest.mark.parametrize("C", [1.0, 100.0])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("n_classes", [2, 5])
def test_the_optimum_is_that_of_arrays(n_classes, sparse, dtype, C):
    X, y, w = problem(n_classes, sparse=sparse, dtype=dtype)
    rows = in_blocks(X, y, w)
    found = SoftmaxRegression(C=C, tol=TOL).fit(rows)
    assert rows.look().kept is None
    assert_same_optimum(found, SoftmaxRegression(C=C, tol=TOL).fit(X, y, w))
    assert rows.n_readings == 1 + found.history_[-1].passes


@pytest.mark.parametrize("options", [
    {"class_weight": "balanced"}, {"class_weight": {"class 1": 3.0}}, {"fit_intercept": False},
    {"solver": "newton-cg"}, {"solver": "newton-cholesky"}, {"C": np.inf},
], ids=str)  # fmt: skip
def test_options_mean_what_they_do_for_arrays(options):
    X, y, w = problem(3)
    found = SoftmaxRegression(tol=TOL, **options).fit(in_blocks(X, y, w))
    expected = SoftmaxRegression(tol=TOL, **options).fit(X, y, w)
    np.testing.assert_allclose(found.predict_proba(X), expected.predict_proba(X), atol=5e-3)
    assert abs(found.objective_ - expected.objective_) <= 2 * TOL * expected.objective_


def test_probabilities_and_independent_labels():
    X, _, w = problem(3)
    rng = np.random.default_rng(0)
    soft = rng.dirichlet(np.ones(3), N)
    found = SoftmaxRegression(tol=TOL).fit(in_blocks(X, soft, w))
    assert_same_optimum(found, SoftmaxRegression(tol=TOL).fit(X, soft, w))
    flags = (rng.random((N, 4)) < 0.3).astype(int)
    rows = in_blocks(X, flags)
    found = SoftmaxRegression(tol=TOL, loss="sigmoid").fit(rows)
    expected = SoftmaxRegression(tol=TOL, loss="sigmoid").fit(X, flags)
    assert_same_optimum(found, expected)
    assert found.score(rows) == found.score(X, flags)


@pytest.mark.parametrize("class_weight", [None, {"class 1": 3.0}], ids=str)
def test_each_class_against_the_rest(class_weight):
    X, y, w = problem(5)
    options = {"multi_class": "ovr", "class_weight": class_weight, "tol": TOL}
    rows = in_blocks(X, y, w)
    found, expected = SoftmaxRegression(**options).fit(rows), SoftmaxRegression(**options).fit(X, y, w)
    assert_same_optimum(found, expected)
    assert found._one_vs_rest
    np.testing.assert_allclose(found.predict_proba(X), expected.predict_proba(X), atol=5e-3)
    assert rows.n_readings == 1 + found.history_[-1].passes  # all classes in the same readings
    soft = np.random.default_rng(0).dirichlet(np.ones(3), N)
    found = SoftmaxRegression(**options | {"class_weight": None}).fit(in_blocks(X, soft))
    assert_same_optimum(found, SoftmaxRegression(**options | {"class_weight": None}).fit(X, soft))


def test_balanced_classes_against_the_rest_take_rows_that_fit():
    X, y, _ = problem(3)
    options = {"multi_class": "ovr", "class_weight": "balanced"}
    found = SoftmaxRegression(**options).fit(in_blocks(X, y, memory="100M"))
    assert found.coef_.tobytes() == SoftmaxRegression(**options).fit(X, y).coef_.tobytes()


def test_sigmoids_are_made_of_labels_some_rows_at_a_time():
    X, _, _ = problem(2)
    y = np.arange(N) % 100
    rows = in_blocks(X[:, :2], y, step=1500, memory="64K")
    targets = []
    of = Targets.of

    def counted(self, block):
        targets.append(of(self, block)[0])
        return targets[-1], of(self, block)[1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Targets, "of", counted)
        SoftmaxRegression(multi_class="ovr", max_iter=1, tol=0.5).fit(rows)
    assert len(targets) > 500
    assert max(each.nbytes for each in targets if len(each) != 100) <= rows.limits.sample
    assert sorted(each.nbytes for each in targets)[len(targets) // 2] <= rows.limits.block


def test_each_block_is_a_batch():
    X, y, w = problem(3)
    rows = in_blocks(X, y, w, step=500)
    found, expected = SoftmaxRegression().partial_fit(rows), SoftmaxRegression()
    for start in range(0, N, 500):
        part = slice(start, start + 500)
        expected.partial_fit(X[part], y[part], np.unique(y), w[part])
    assert found.coef_.tobytes() == expected.coef_.tobytes()
    assert found.intercept_.tobytes() == expected.intercept_.tobytes()
    once = in_blocks(X, y, w, step=500)
    assert (
        SoftmaxRegression().partial_fit(once, classes=np.unique(y)).coef_.tobytes() == found.coef_.tobytes()
    )
    assert once.n_readings == 1  # classes that are given are not looked for
    expected.partial_fit(X, y)
    assert np.isfinite(found.partial_fit(in_blocks(X, y)).coef_).all()


def test_a_batch_that_fails_leaves_the_model_as_it_was(tmp_path):
    X, y, _ = problem(2)
    model = SoftmaxRegression().partial_fit(X, y, np.unique(y))
    before = model.coef_.tobytes()
    X = X.copy()
    X[2500, 3] = np.nan
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", y)
    with pytest.raises(ValueError, match="row 2501") as error:
        model.partial_fit(open_rows(tmp_path / "X.npy", memory="64K"))
    assert "X.npy" in str(error.value)
    assert model.coef_.tobytes() == before


def test_names_of_batches(tmp_path):
    pytest.importorskip("pyarrow")
    path, options = files.parquet(tmp_path)
    rows = open_rows(path, **options, memory="8K")
    model = SoftmaxRegression().partial_fit(rows)
    assert model.feature_names_in_.tolist() == list(files.NAMES)
    model.partial_fit(rows)
    assert model.feature_names_in_.tolist() == list(files.NAMES)
    with pytest.raises(ValueError, match="they lack f10"):
        model.partial_fit(open_rows(path, target="kind", features=files.NAMES[:-1]))


def test_records_say_how_many_bytes_were_read(tmp_path):
    X, y, _ = problem(3)
    rows, records = in_blocks(X, y), []
    model = SoftmaxRegression(callbacks=[records.append]).fit(rows)
    assert [each.bytes_read for each in records] == [each.passes * X.nbytes for each in records]
    assert model.history_[-1].bytes_read == model.history_[-1].passes * X.nbytes
    assert rows.bytes_read == rows.n_readings * X.nbytes
    model.callbacks = None
    model.save(tmp_path / "m")
    assert load(tmp_path / "m").history_ == model.history_
    assert {each.bytes_read for each in SoftmaxRegression().fit(X, y).history_} == {0}
    assert Record(*model.history_[0][:5]).bytes_read == 0  # as files of before have it


def test_a_class_whose_rows_weigh_nothing():
    X, y, w = problem(3)
    w = np.where(y == "class 2", 0.0, w)
    found = SoftmaxRegression(tol=TOL).fit(in_blocks(X, y, w))
    assert_same_optimum(found, SoftmaxRegression(tol=TOL).fit(X, y, w))
    assert "class 2" not in found.predict(X)


def test_columns_far_from_zero():
    X, y, _ = problem(3)
    X[:, 0] += 1e5
    found = SoftmaxRegression(tol=TOL).fit(in_blocks(X, y))
    assert_same_optimum(found, SoftmaxRegression(tol=TOL).fit(X, y))


def test_few_rows_have_the_bits_of_arrays(tmp_path):
    X, y, w = files.data()
    path, options = files.npy(tmp_path)
    rows = open_rows(path, **options)
    found = SoftmaxRegression().fit(rows)
    expected = SoftmaxRegression().fit(X, y, w)
    assert found.coef_.tobytes() == expected.coef_.tobytes()
    assert found.intercept_.tobytes() == expected.intercept_.tobytes()
    assert rows.n_readings == 1


def test_a_path_over_C():
    X, y, _ = problem(3)
    found = SoftmaxRegression(tol=TOL).fit_path(in_blocks(X, y), None, [0.01, 1.0])
    expected = SoftmaxRegression(tol=TOL).fit_path(X, y, [0.01, 1.0])
    for one, other in zip(found, expected):
        assert one.duality_gap_ <= TOL * one.objective_
        assert abs(one.objective_ - other.objective_) <= 2 * TOL * other.objective_


def test_predictions_are_those_of_arrays(tmp_path):
    X, y, w = problem(4, dtype=np.float32)
    rows = in_blocks(X, y, w)
    model = SoftmaxRegression().fit(X, y, w)
    for name in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        predict = getattr(model, name)
        expected = predict(X)
        blocks = list(predict(rows))
        assert len(blocks) > 10
        np.testing.assert_array_equal(np.concatenate(blocks), expected)
        out = np.empty_like(expected)
        assert predict(rows, out=out) is out
        np.testing.assert_array_equal(out, expected)
        path = tmp_path / f"{name}.npy"
        predict(rows, out=path)
        np.testing.assert_array_equal(np.load(path), expected)
    classes, proba = zip(*model.predict_top_k(rows, 2))
    np.testing.assert_array_equal(np.concatenate(classes), model.predict_top_k(X, 2)[0])
    np.testing.assert_array_equal(np.concatenate(proba), model.predict_top_k(X, 2)[1])
    assert model.score(rows) == pytest.approx(model.score(X, y, w), rel=1e-12)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        f"{name}.npy" for name in ("predict", "predict_proba", "predict_log_proba", "decision_function")
    )


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_predictions_in_a_table(tmp_path, suffix):
    pytest.importorskip("pyarrow")
    import pandas

    X, y, _ = problem(3)
    model = SoftmaxRegression().fit(X, y)
    path = tmp_path / f"p{suffix}"
    read = pandas.read_parquet if suffix == ".parquet" else pandas.read_csv
    for name in ("predict_proba", "predict_log_proba", "decision_function"):
        getattr(model, name)(in_blocks(X, y), out=path)
        table = read(path)
        assert table.columns.tolist() == model.classes_.tolist()
        np.testing.assert_allclose(table.to_numpy(), getattr(model, name)(X), rtol=1e-15)
    model.predict(in_blocks(X, y), out=path)
    assert read(path)["prediction"].tolist() == model.predict(X).tolist()
    model.predict_top_k(in_blocks(X, y), 2, out=path)
    table = read(path)
    assert table.columns.tolist() == ["class_1", "class_2", "proba_1", "proba_2"]
    assert table[["class_1", "class_2"]].to_numpy().tolist() == model.predict_top_k(X, 2)[0].tolist()
    two = SoftmaxRegression().fit(X, y == "class 1")
    two.decision_function(in_blocks(X, y), out=path)
    np.testing.assert_allclose(read(path)["decision_function"], two.decision_function(X), rtol=1e-15)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_what_no_file_takes_is_said_and_nothing_is_left(tmp_path):
    X, y, _ = problem(3)
    model, rows = SoftmaxRegression().fit(X, y), in_blocks(X, y)
    with pytest.raises(TypeError, match=r"\.parquet and \.csv take several"):
        model.predict_top_k(rows, 2, out=tmp_path / "p.npy")
    with pytest.raises(ValueError, match=r"must end in one of \.npy"):
        model.predict(rows, out=tmp_path / "p.txt")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        model.predict(rows, out=tmp_path / "no" / "p.csv")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_prediction_leaves_the_file_as_it_was(tmp_path):
    X, y, _ = problem(3)
    model = SoftmaxRegression().fit(X, y)
    X = X.copy()
    X[2000, 3] = np.nan
    np.save(tmp_path / "X.npy", X)
    path = tmp_path / "p.npy"
    path.write_bytes(b"before")
    with pytest.raises(ValueError, match="row 2001") as error:
        model.predict(open_rows(tmp_path / "X.npy", memory="64K"), out=path)
    assert "X.npy" in str(error.value)
    assert path.read_bytes() == b"before"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["X.npy", "p.npy"]


def test_names_of_features_are_compared(tmp_path):
    pytest.importorskip("pyarrow")
    path, options = files.parquet(tmp_path)
    rows = open_rows(path, **options, memory="8K")
    model = SoftmaxRegression().fit(rows)
    assert model.feature_names_in_.tolist() == list(files.NAMES)
    assert len(np.concatenate(list(model.predict(rows)))) == files.N
    other = open_rows(path, target="kind", features=files.NAMES[:-1])
    with pytest.raises(ValueError, match="they lack f10"):
        list(model.predict(other))


def test_rows_whose_width_only_their_largest_index_tells(tmp_path):
    path, _ = files.svmlight(tmp_path)
    model = SoftmaxRegression().fit(open_rows(path))
    assert model.n_features_in_ == files.D
    (tmp_path / "narrow.svm").write_text("1 1:0.5 3:2\n2 2:1\n")
    found = np.concatenate(list(model.predict_proba(open_rows(tmp_path / "narrow.svm"))))
    wide = np.zeros((2, files.D))
    wide[0, [0, 2]], wide[1, 1] = (0.5, 2.0), 1.0
    np.testing.assert_allclose(found, model.predict_proba(wide), rtol=1e-12)
    (tmp_path / "wide.svm").write_text("1 99:0.5\n")
    with pytest.raises(ValueError, match="99 features"):
        list(model.predict_proba(open_rows(tmp_path / "wide.svm")))


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, bool])
def test_classes_keep_their_dtype(tmp_path, dtype):
    X, y, _ = problem(2)
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", (y == "class 1").astype(dtype))
    for memory in ("64K", None):
        model = SoftmaxRegression().fit(open_rows(tmp_path / "X.npy", memory=memory))
        assert model.classes_.dtype == dtype
        assert model.classes_.tolist() == [0, 1]


def test_the_objective_takes_rows():
    X, y, w = problem(3)
    codes = np.unique(y, return_inverse=True)[1]
    there = SoftmaxObjective(in_blocks(X, y, w), l2=0.01, label_smoothing=0.1)
    here = SoftmaxObjective(X, codes, sample_weight=w, l2=0.01, label_smoothing=0.1)
    x, v = np.random.default_rng(0).normal(size=(2, here.n_params))
    (value, grad), (expected, its_grad) = there.value_and_grad(x), here.value_and_grad(x)
    assert value == pytest.approx(expected, rel=1e-13)
    np.testing.assert_allclose(grad, its_grad, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(there.hessp(x, v), here.hessp(x, v), rtol=1e-10, atol=1e-13)


def test_what_is_refused():
    X, y, w = problem(3)
    rows = in_blocks(X, y, w)
    with pytest.raises(ValueError, match="give target= to open_rows"):
        SoftmaxRegression().fit(rows, y)
    with pytest.raises(ValueError, match="sample_weight is part of the rows"):
        SoftmaxRegression().fit(rows, sample_weight=w)
    with pytest.raises(ValueError, match="device='cpu'"):
        SoftmaxRegression(device="cuda").fit(rows)
    with pytest.raises(NotFittedError):
        SoftmaxRegression().predict(rows)
    unlabelled = rows_from(lambda: iter([(X,)] * 3), memory="64K")
    with pytest.raises(ValueError, match="no labels"):
        SoftmaxRegression().fit(unlabelled)
    with pytest.raises(ValueError, match="only one class"):
        SoftmaxRegression().fit(in_blocks(X, np.zeros(N, int)))
    with pytest.raises(TypeError, match="callable"):
        rows_from([(X, y)])
    with pytest.raises(ValueError, match=r'"500M" or "2G"'):
        rows_from(lambda: iter([(X, y)]), memory="lots")


def test_what_takes_rows_in_memory_says_so():
    X, y, w = problem(3)
    rows = in_blocks(X, y)
    calls = [
        lambda: SoftmaxRegression().fit_many(rows, None, w[np.newaxis]),
        lambda: SoftmaxRegressionCV(scoring="roc_auc_ovr").fit(rows, None),
        lambda: SoftmaxRegression(multi_class="ovr", class_weight="balanced").fit(rows),
    ]
    for call in calls:
        said = r"rows in memory|rows that are not in memory|y cannot be None|requires y"
        with pytest.raises((TypeError, ValueError), match=said):
            call()


def test_without_a_penalty_no_reading_is_made_for_a_bound():
    X, y, _ = problem(2)
    rows = in_blocks(X, y)
    model = SoftmaxRegression(C=np.inf).fit(rows)
    assert model.duality_gap_ is None
    assert rows.n_readings == 1 + model.history_[-1].passes
    assert model.objective_ == pytest.approx(SoftmaxRegression(C=np.inf).fit(X, y).objective_, rel=1e-6)


@pytest.mark.parametrize("n_classes", [5, 25])  # a small Hessian, and one that the sample has to tell
def test_a_killed_fit_goes_on_to_the_same_bits(tmp_path, monkeypatch, n_classes):
    monkeypatch.setattr(checkpoint, "SECONDS", 0.0)
    monkeypatch.setattr(checkpoint, "TIME_FRACTION", np.inf)
    X, y, _ = problem(n_classes)
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", y)
    whole = SoftmaxRegression(tol=1e-9).fit(open_rows(tmp_path / "X.npy", memory="200K"))

    class KilledError(Exception):
        pass

    def kill(record):
        if record.passes >= 4:
            raise KilledError

    options = {"tol": 1e-9, "checkpoint": tmp_path / "state"}
    with pytest.raises(KilledError):
        SoftmaxRegression(callbacks=[kill], **options).fit(open_rows(tmp_path / "X.npy", memory="200K"))
    assert (tmp_path / "state").exists()
    again = SoftmaxRegression(**options).fit(open_rows(tmp_path / "X.npy", memory="200K"))
    assert again.coef_.tobytes() == whole.coef_.tobytes()


def test_rows_travel_as_a_recipe(tmp_path):
    X, y, _ = problem(3)
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", y)
    rows = open_rows(tmp_path / "X.npy", memory="64K")
    expected = SoftmaxRegression().fit(rows)
    sent = pickle.dumps(rows)
    assert len(sent) < 4000
    assert SoftmaxRegression().fit(pickle.loads(sent)).coef_.tobytes() == expected.coef_.tobytes()
