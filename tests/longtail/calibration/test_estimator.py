import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.base import clone

from longtail.calibration import TailCalib, estimator, plan, threads
from longtail.config import CalibrationConfig
from longtail.errors import InputError
from longtail.shards import Shard

COUNTS = np.array([60, 30, 12, 8, 5, 2, 1])
D = 12


def make(dtype=np.float64, counts=COUNTS, n_features=D, seed=0):
    """Non-negative features of well separated classes with correlated features, in random order."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    mixing = rng.normal(size=(n_features, n_features)) / n_features
    X = np.abs(rng.gamma(2, 1, (len(counts), n_features))[y] + rng.normal(size=(len(y), n_features)) @ mixing)
    return X.astype(dtype), y


def published(X, y, x, *, n_neighbors=3, tukey=1.0, alpha=0.0, alpha_on="diagonal", eps=1e-4, own=None, raw=False):
    """The authors' formula, dense and in float64, whose statistics are of raw features; one sample has no covariance.

    Without `raw` the statistics are of the transformed features; `own` is a class that may not lend.
    """
    X, x = X.astype(np.float64), x.astype(np.float64)

    def transform(features):
        return np.log(features + 1e-6) if tukey == 0 else features**tukey

    X, x = X if raw else transform(X), transform(x)
    classes = np.setdiff1d(y, [own])
    means = np.stack([X[y == label].mean(axis=0) for label in classes])
    nearest = np.argsort(np.linalg.norm(means - x, axis=1))[:n_neighbors]
    mean = (x + means[nearest].sum(axis=0)) / (n_neighbors + 1)
    lenders = [classes[index] for index in nearest if (y == classes[index]).sum() > 1]
    covariance = np.mean([np.cov(X[y == label].T) for label in lenders], axis=0)
    covariance += alpha * (np.eye(len(x)) if alpha_on == "diagonal" else np.ones((len(x), len(x))))
    return mean, covariance + eps * np.eye(len(x))


def assert_normal(rows, mean, covariance):
    """Check draws against a normal distribution: mean by chi-square, covariance by its whitened eigenvalues."""
    n, size = rows.shape
    white = np.linalg.solve(np.linalg.cholesky(covariance), (rows - mean).T)
    assert 1e-5 < stats.chi2.cdf(n * np.square(white.mean(axis=1)).sum(), size) < 1 - 1e-5
    eigenvalues = np.linalg.eigvalsh(white @ white.T / n)
    edge = np.sqrt(size / n)
    assert (1 - edge) ** 2 - 0.02 < eigenvalues[0]
    assert eigenvalues[-1] < (1 + edge) ** 2 + 0.02
    assert stats.kstest(white.ravel()[:20000], "norm").pvalue > 1e-5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("tukey", [1.0, 0.5, 0.0, 2.0])
@pytest.mark.parametrize(("alpha", "alpha_on"), [(0.0, "diagonal"), (0.3, "diagonal"), (0.3, "all")])
@pytest.mark.parametrize("n_neighbors", [2, 3, 7])
@pytest.mark.parametrize("statistics", ["raw", "transformed"])
def test_the_closed_form_is_the_published_formula(statistics, n_neighbors, alpha, alpha_on, tukey, dtype):
    X, y = make(dtype)
    settings = {"tukey": tukey, "alpha": alpha, "alpha_on": alpha_on}
    fitted = TailCalib(n_neighbors, statistics=statistics, **settings).fit(X, y)
    for row in range(0, len(X), 20):
        mean, covariance = fitted.calibrated_distribution(X[row])
        expected = published(X, y, X[row], n_neighbors=n_neighbors, raw=statistics == "raw", **settings)
        exact = statistics == "raw" or dtype == np.float64  # float32 features are transformed in float32
        np.testing.assert_allclose(mean, expected[0], rtol=1e-6, atol=1e-9 if exact else 1e-6)
        np.testing.assert_allclose(covariance, expected[1], rtol=1e-6, atol=1e-9 if exact else 1e-5)


@pytest.mark.parametrize("n_neighbors", [1, 3, 5])
@pytest.mark.parametrize("tukey", [1.0, 0.5])
def test_an_excluded_class_lends_nothing_to_its_own(n_neighbors, tukey):
    X, y = make(counts=COUNTS[:6])
    names = np.array(list("abcdef"))[y]
    fitted = TailCalib(n_neighbors, own_class="exclude", tukey=tukey).fit(X, names)
    assert (fitted.nearest_classes_ != names[fitted.seeds_, None]).all()
    np.testing.assert_array_equal(
        fitted.nearest_classes(X[fitted.seeds_], names[fitted.seeds_]), fitted.nearest_classes_
    )
    for row in range(0, len(X), 10):
        found = fitted.calibrated_distribution(X[row], names[row])
        expected = published(X, y, X[row], n_neighbors=n_neighbors, tukey=tukey, own=y[row])
        np.testing.assert_allclose(found[0], expected[0], rtol=1e-10)
        np.testing.assert_allclose(found[1], expected[1], atol=1e-10)
        included = published(X, y, X[row], n_neighbors=n_neighbors, tukey=tukey)
        assert np.abs(included[1] - expected[1]).max() > 1e-4


@pytest.mark.parametrize("statistics", ["raw", "transformed"])
def test_without_a_transform_both_statistics_are_the_same_bytes(statistics):
    X, y = make(np.float32)
    found = TailCalib(statistics=statistics, random_state=0).fit_resample(X, y)[0]
    assert found.tobytes() == TailCalib(random_state=0).fit_resample(X, y)[0].tobytes()


@pytest.mark.parametrize("fill", [0.0, 0.25, 0.5, 1.0, 1.5])
def test_fill_is_the_share_of_what_a_class_lacks(fill):
    X, y = make()
    sampler = TailCalib(fill=fill, random_state=0)
    Z, labels = sampler.fit_resample(X, y)
    np.testing.assert_array_equal(np.bincount(labels) - COUNTS, np.rint(fill * (60 - COUNTS)))
    assert Z.shape == (len(labels), D)
    assert sampler.budget_.sum() == len(labels) - len(X)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_clipping_moves_negative_entries_to_zero_and_nothing_else(dtype):
    X, y = make(dtype)
    free, clipped = (TailCalib(alpha=0.5, clip=clip, random_state=0).fit_resample(X, y)[0] for clip in (False, True))
    assert (free < 0).mean() > 0.01
    np.testing.assert_array_equal(clipped, np.maximum(free, 0))
    fitted = TailCalib(alpha=0.5, clip=True).fit(X, y)
    assert fitted.sample(X[0], 1000, np.random.default_rng(0)).min() == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("n_neighbors", "tukey", "alpha", "alpha_on", "label"),
    [
        (1, 1.0, 0.0, "diagonal", 0),  # one class of more rows than features
        (1, 1.0, 0.0, "diagonal", 4),  # one class of fewer rows than features: rank 4
        (3, 1.0, 0.0, "diagonal", 1),
        (3, 0.5, 0.2, "all", 2),
        (3, 0.9, 0.2, "diagonal", 3),
        (2, 1.0, 0.0, "diagonal", 6),  # a class of one sample
        (7, 2.0, 0.5, "all", 5),
    ],
)
@pytest.mark.parametrize("statistics", ["raw", "transformed"])
def test_draws_follow_the_published_distribution(statistics, n_neighbors, tukey, alpha, alpha_on, label, dtype):
    X, y = make(dtype)
    settings = {"n_neighbors": n_neighbors, "tukey": tukey, "alpha": alpha, "alpha_on": alpha_on}
    fitted = TailCalib(statistics=statistics, **settings).fit(X, y)
    x = X[y == label][0]
    rows = fitted.sample(x, 20000, np.random.default_rng(label))
    assert rows.dtype == dtype
    assert_normal(rows, *published(X, y, x, raw=statistics == "raw", **settings))


def test_the_closed_form_is_the_reference_package_s():
    reference = pytest.importorskip("tailcalib").tailcalib("numpy")
    X, y = make(counts=COUNTS[:6])
    fitted = TailCalib(3, alpha=0.2, alpha_on="all", eps=0.0).fit(X, y)
    covariances = np.stack([reference.get_cov(X[y == label]) for label in range(6)])
    for row in range(0, len(X), 15):
        nearest = fitted.nearest_classes(X[row : row + 1])[0]
        expected = reference.calibrate_distribution(fitted.class_means_[nearest], covariances[nearest], 3, X[row], 0.2)
        for found, value in zip(fitted.calibrated_distribution(X[row]), expected, strict=True):
            np.testing.assert_allclose(found, value, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("own_class", "tukey"), [("include", 1.0), ("exclude", 1.0), ("exclude", 0.5)])
def test_generated_rows_follow_their_seeds_distributions(monkeypatch, own_class, tukey, dtype):
    monkeypatch.setattr(plan, "_TASK_ROWS", 97)
    X, y = make(dtype, counts=np.array([900, 40, 14, 9, 3, 1]), n_features=6)
    fitted = TailCalib(own_class=own_class, tukey=tukey, random_state=1)
    generated = fitted.fit_resample(X, y)[0][len(X) :].astype(np.float64)
    white = np.empty_like(generated)
    for row in np.unique(fitted.seed_rows_):
        own = y[row] if own_class == "exclude" else None
        mean, covariance = published(X, y, X[row], tukey=tukey, own=own)
        own = fitted.seed_rows_ == row
        white[own] = np.linalg.solve(np.linalg.cholesky(covariance), (generated[own] - mean).T).T
    assert_normal(white, np.zeros(6), np.eye(6))
    neighbours = white[1:].T @ white[:-1] / len(white)
    assert np.abs(neighbours).max() < 4.5 / np.sqrt(len(white))


@pytest.mark.parametrize("counts", [[4, 1, 1], [1, 1, 3], [5, 5, 5], [30, 2, 1, 1], [1, 1, 1]])
def test_all_classes_end_equal(counts):
    X, y = make(counts=np.array(counts), n_features=4)
    Z, labels = TailCalib(2, random_state=0).fit_resample(X, y)
    np.testing.assert_array_equal(np.bincount(labels), [max(counts)] * len(counts))
    assert Z.shape == (max(counts) * len(counts), 4)
    assert np.isfinite(Z).all()
    np.testing.assert_array_equal(Z[: len(X)], X)
    np.testing.assert_array_equal(labels[: len(y)], y)


def test_a_lone_class_of_one_sample_borrows_from_the_nearest_class_that_has_a_covariance():
    X, y = make(counts=np.array([9, 7, 1]), n_features=3)
    fitted = TailCalib(1).fit(X, y)
    x = X[y == 2][0]
    lender = np.argmin(np.linalg.norm(fitted.class_means_[:2] - x, axis=1))
    covariance = np.cov(X[y == lender].T) + 1e-4 * np.eye(3)
    np.testing.assert_allclose(fitted.calibrated_distribution(x)[1], covariance)
    assert_normal(fitted.sample(x, 20000, np.random.default_rng(0)), x, covariance)


def test_an_excluded_class_is_no_lender_either():
    X, y = make(counts=np.array([9, 7, 1]), n_features=3)
    X[y == 0] = X[y == 2] + 0.01 * X[y == 0]  # class 0 lies around the class of one sample, class 1 far away
    fitted = TailCalib(1, own_class="exclude").fit(X, y)
    x = X[y == 0][0]
    assert fitted.nearest_classes(x[None], np.array([0])).item() == 2
    covariance = np.cov(X[y == 1].T) + 1e-4 * np.eye(3)
    np.testing.assert_allclose(fitted.calibrated_distribution(x, 0)[1], covariance)
    assert_normal(fitted.sample(x, 20000, np.random.default_rng(0), 0), (x + X[y == 2][0]) / 2, covariance)


def test_the_record_says_where_each_row_came_from():
    X, y = make()
    fitted = TailCalib(random_state=3).fit(X, y)
    np.testing.assert_array_equal(np.bincount(fitted.seed_rows_, minlength=len(X)), fitted.budget_)
    np.testing.assert_array_equal(y[fitted.seed_rows_], fitted.generated_labels_)
    np.testing.assert_array_equal(fitted.seeds_[fitted.seed_index_], fitted.seed_rows_)
    np.testing.assert_array_equal(fitted.nearest_classes(X[fitted.seeds_]), fitted.nearest_classes_)
    np.testing.assert_array_equal(fitted.class_counts_, COUNTS)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_threads_and_streaming_do_not_change_a_byte(monkeypatch, dtype):
    monkeypatch.setattr(plan, "_TASK_ROWS", 50)
    X, y = make(dtype)
    results = []
    for n_threads in (1, 2, 4):
        monkeypatch.setattr(threads, "count_threads", lambda n=n_threads: n)
        fitted = TailCalib(random_state=5)
        Z, labels = fitted.fit_resample(X, y)
        blocks = list(fitted.iter_generated())
        assert len(blocks) > 4
        np.testing.assert_array_equal(Z[len(X) :], np.concatenate([rows for rows, _, _ in blocks]))
        np.testing.assert_array_equal(labels[len(X) :], np.concatenate([own for _, own, _ in blocks]))
        np.testing.assert_array_equal(fitted.seed_rows_, np.concatenate([seeds for _, _, seeds in blocks]))
        results.append(Z.tobytes())
    assert len(set(results)) == 1


def test_generated_rows_stream_into_a_file(tmp_path):
    X, y = make(np.float32)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    fitted = TailCalib(random_state=0).fit(mapped, y)
    out = np.lib.format.open_memmap(
        tmp_path / "Z.npy", mode="w+", dtype=np.float32, shape=(len(fitted.seed_rows_), fitted.n_features_in_)
    )
    position = 0
    for rows, _, _ in fitted.iter_generated():
        out[position : position + len(rows)] = rows
        position += len(rows)
    np.testing.assert_array_equal(out, TailCalib(random_state=0).fit_resample(X, y)[0][len(X) :])


@pytest.mark.parametrize("count", [1, 3, 50])
def test_shards_of_the_generated_rows_are_the_rows(count):
    X, y = make(np.float32)
    fitted = TailCalib(random_state=5)
    Z = fitted.fit_resample(X, y)[0][len(X) :]
    for index in range(count):
        span, blocks = fitted.generated_span(Shard(index, count)), [*fitted.iter_generated(Shard(index, count))]
        assert sum(len(rows) for rows, _, _ in blocks) == span.stop - span.start
        for part, expected in enumerate((Z, fitted.generated_labels_, fitted.seed_rows_)):
            found = [block[part] for block in blocks]
            np.testing.assert_array_equal(np.concatenate(found) if found else expected[:0], expected[span])


def test_seeds_decide_the_result():
    X, y = make()
    draws = [TailCalib(random_state=state).fit_resample(X, y)[0].tobytes() for state in (0, 0, 1, None, None)]
    assert draws[0] == draws[1]
    assert len(set(draws)) == 4
    generators = [np.random.default_rng(7), np.random.default_rng(7)]
    first, second = (TailCalib(random_state=generator).fit_resample(X, y)[0] for generator in generators)
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, TailCalib(random_state=generators[0]).fit_resample(X, y)[0])


def test_original_rows_and_transform_share_tukey_s_space():
    X, y = make()
    sampler = TailCalib(tukey=0.5, random_state=0)
    Z, _ = sampler.fit_resample(X, y)
    np.testing.assert_array_equal(Z[: len(X)], sampler.transform(X))
    np.testing.assert_allclose(sampler.transform(X), np.sqrt(X))


@pytest.mark.parametrize("kind", [np.int32, np.str_, object])
def test_labels_keep_their_kind(kind):
    X, y = make()
    names = (10 * y).astype(np.str_).astype(kind) if kind is not np.int32 else (10 * y).astype(kind)
    _, labels = TailCalib(random_state=0).fit_resample(X, names)
    assert labels.dtype == names.dtype
    np.testing.assert_array_equal(np.unique(labels, return_counts=True)[1], 60)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors_come_back_as_tensors(dtype):
    X, y = make()
    X, y = torch.from_numpy(X).to(dtype), torch.from_numpy(y)
    sampler = TailCalib(random_state=0)
    Z, labels = sampler.fit_resample(X, y)
    assert (Z.dtype, labels.dtype, Z.device) == (dtype, torch.int64, X.device)
    expected, expected_labels = TailCalib(random_state=0).fit_resample(X.numpy(), y.numpy())
    np.testing.assert_array_equal(Z.numpy(), expected)
    np.testing.assert_array_equal(labels.numpy(), expected_labels)
    assert torch.is_tensor(sampler.transform(X))


def test_it_is_a_scikit_learn_estimator():
    generator = np.random.default_rng(0)
    sampler = clone(TailCalib(n_neighbors=2, alpha=0.1).set_params(tukey=0.5))
    assert sampler.get_params() == {**TailCalib().get_params(), "n_neighbors": 2, "alpha": 0.1, "tukey": 0.5}
    assert TailCalib(random_state=generator).random_state is generator
    settings = asdict(CalibrationConfig())
    del settings["shards"]  # how many tasks draw the features is no parameter of what they are
    assert set(settings) == set(sampler.get_params()) - {"random_state"}
    assert settings.items() <= TailCalib().get_params().items()


def test_bad_input_is_refused():
    X, y = make()
    with pytest.raises(InputError, match="n_neighbors is 8 and y has 7 classes"):
        TailCalib(n_neighbors=8).fit(X, y)
    with pytest.raises(
        InputError, match="n_neighbors is 7 and y has 7 classes, one of them the excluded own one: give at most 6"
    ):
        TailCalib(n_neighbors=7, own_class="exclude").fit(X, y)
    excluding = TailCalib(own_class="exclude").fit(X, y)
    with pytest.raises(InputError, match="own_class is 'exclude': give the rows' labels too"):
        excluding.nearest_classes(X)
    with pytest.raises(InputError, match="fit saw no class 8: give labels of the classes that it saw"):
        excluding.calibrated_distribution(X[0], 8)
    with pytest.raises(InputError, match="alpha_on is 'some'"):
        TailCalib(alpha_on="some").fit(X, y)
    with pytest.raises(InputError, match="give one label for each row"):
        TailCalib().fit(X, y[:-1])
    with pytest.raises(InputError, match="X has shape"):
        TailCalib().fit(X[:0], y[:0])
    broken = X.copy()
    broken[5, 0] = np.nan
    with pytest.raises(InputError, match=r"1 features are NaN or infinite \(first in row 5\)"):
        TailCalib().fit(broken, y)
    with pytest.raises(InputError, match=r"features are negative \(first in row 0\)"):
        TailCalib(tukey=0.5).fit(-X, y)
    with pytest.raises(InputError, match="features are too large for float32 when tukey is 2: scale them down"):
        TailCalib(tukey=2).fit((1e30 * X).astype(np.float32), y)
    fitted = TailCalib().fit(X, y)
    with pytest.raises(InputError, match="X has 3 features and fit saw 12"):
        fitted.sample(X[0, :3], 5, np.random.default_rng(0))
    with pytest.raises(RuntimeError, match="not fitted"):
        TailCalib().nearest_classes(X)


def test_it_does_not_import_torch():
    code = f"import sys, {estimator.__name__}; sys.exit(int('torch' in sys.modules or 'sklearn' in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
