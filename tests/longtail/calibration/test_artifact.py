from dataclasses import asdict

import numpy as np
import pytest

from longtail.artifacts import artifact_digest, new_artifact
from longtail.calibration import TailCalib
from longtail.calibration.artifact import Samples, merge_samples, write_samples
from longtail.config import CalibrationConfig
from longtail.errors import InputError
from longtail.features import Features
from longtail.shards import Shard

COUNTS = (40, 17, 9, 4, 1)
SIZE = 12


def make_features(folder, counts=COUNTS, spoil=None):
    """Return non-negative features (view 1 other than view 0) with `counts` rows by class, in random order."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    fields = {"class_names": [f"class {i}" for i in range(len(counts))], "train_counts": list(counts), "views": 1}
    with new_artifact(folder, "longtail.features", 1, fields) as path:
        (path / "train").mkdir()
        np.save(path / "train" / "labels.npy", labels)
        means = 2 * rng.random((len(counts), SIZE))
        for view in (0, 1):
            x = np.abs(means[labels] + 0.2 * rng.normal(size=(len(labels), SIZE))).astype(np.float32)
            if spoil is not None:
                x[3, 2] = spoil
            np.save(path / "train" / f"view-{view}.npy", x)
    return Features.open(folder)


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    return make_features(tmp_path_factory.mktemp("features") / "features")


def write(features, out, config=None, view=0, normalise=True, seed=5, progress=None):
    write_samples(features, view, config or CalibrationConfig(), normalise, out, seed=seed, progress=progress)
    return Samples.open(out)


def settings(config):
    return {name: value for name, value in asdict(config).items() if name != "shards"}


@pytest.mark.parametrize("view", [0, 1])
@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize(
    "config",
    [
        CalibrationConfig(),
        CalibrationConfig(n_neighbors=2, tukey=0.5, alpha=0.1, alpha_on="all"),
        CalibrationConfig(own_class="exclude", fill=0.5, tukey=0.9, statistics="raw", clip=True),
    ],
)
def test_streamed_rows_are_those_of_fit_resample(features, tmp_path, config, normalise, view):
    samples = write(features, tmp_path / "samples", config, view, normalise)
    x, labels = np.array(features.train(view)), features.labels("train")
    if normalise:
        x /= np.linalg.norm(x, axis=1, keepdims=True)
    estimator = TailCalib(**settings(config), random_state=5)
    expected, expected_labels = estimator.fit_resample(x, labels)
    np.testing.assert_array_equal(samples.rows, expected[len(x) :])
    np.testing.assert_array_equal(samples.labels, expected_labels[len(x) :])
    np.testing.assert_array_equal(samples.transform(features.train(view)), expected[: len(x)])
    np.testing.assert_array_equal(samples.nearest, estimator.nearest_classes(x, labels)[samples.seed_rows])
    np.testing.assert_array_equal(labels[samples.seed_rows], samples.labels)
    assert samples.rows.dtype == np.float32
    assert (samples.config, samples.normalise, samples.balanced_size) == (config, normalise, len(expected))


def test_equal_seeds_give_equal_digests(features, tmp_path):
    digests = []
    for place, seed in enumerate((5, 5, 6)):
        write(features, tmp_path / str(place), seed=seed)
        digests.append(artifact_digest(tmp_path / str(place)))
    assert digests[0] == digests[1] != digests[2]


def test_progress_counts_to_the_end(features, tmp_path):
    seen = []
    samples = write(features, tmp_path / "samples", progress=lambda done, total: seen.append((done, total)))
    total = len(COUNTS) * max(COUNTS) - sum(COUNTS)
    assert len(samples.rows) == total
    assert seen == sorted(seen) and seen[-1] == (total, total)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Features of which so many are generated that they take four tasks."""
    return make_features(tmp_path_factory.mktemp("many") / "features", counts=(5000, 900, 40, 3))


@pytest.mark.parametrize("count", [2, 3, 9])
def test_shards_are_bit_for_bit_what_one_task_writes(many, tmp_path, count):
    whole, seen = write(many, tmp_path / "whole"), []
    parts = [tmp_path / str(index) for index in range(count)]
    for index, part in enumerate(parts):
        args = (many, 0, CalibrationConfig(shards=count), True, part)
        write_samples(*args, seed=5, shard=Shard(index, count), progress=lambda *done: seen.append(done))
    merge_samples(parts[::-1], tmp_path / "merged")
    assert artifact_digest(tmp_path / "merged") == artifact_digest(tmp_path / "whole")
    assert sum(done == total for done, total in seen) == min(count, 4)
    assert len(Samples.open(tmp_path / "merged").rows) == len(whole.rows) > 3 * 4096
    groups = [set(np.load(part / "labels.npy").tolist()) for part in parts]
    assert sum(len(group) for group in groups) <= 3 + min(count, 4) - 1  # consecutive classes, cut where a task ends
    with pytest.raises(InputError, match=r"holds 'longtail\.shard'"):
        Samples.open(parts[0])


def test_a_shard_that_is_lost_or_of_other_settings_is_refused(many, tmp_path):
    parts = [tmp_path / str(index) for index in range(2)]
    for index, part in enumerate(parts):
        write_samples(many, 0, CalibrationConfig(fill=1 - index / 2), True, part, seed=5, shard=Shard(index, 2))
    with pytest.raises(InputError, match="is a shard of another whole than"):
        merge_samples(parts, tmp_path / "merged")
    with pytest.raises(InputError, match="the shards are 1 of 2: give each of 0 to 1 of 2 once"):
        merge_samples(parts[1:], tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_equal_classes_have_an_empty_set(tmp_path):
    features = make_features(tmp_path / "features", counts=(6, 6, 6))
    samples = write(features, tmp_path / "samples", CalibrationConfig(tukey=0.5))
    assert samples.rows.shape == (0, SIZE)
    assert (len(samples.labels), len(samples.seed_rows), samples.nearest.shape) == (0, 0, (0, 3))
    assert samples.balanced_size == 18
    assert samples.transform(features.train()).shape == (18, SIZE)


def test_transform_leaves_its_argument_and_zero_rows_as_they_are(features, tmp_path):
    x = np.stack([np.zeros(SIZE), np.full(SIZE, 3.0)]).astype(np.float32)
    before = x.copy()
    for normalise in (True, False):
        found = write(features, tmp_path / str(normalise), normalise=normalise).transform(x)
        found += 1  # its own memory
        np.testing.assert_array_equal(x, before)
        np.testing.assert_allclose(found[0], 1)
        np.testing.assert_allclose(found[1] - 1, SIZE**-0.5 if normalise else 3.0, rtol=1e-6)


@pytest.mark.parametrize("name", ["rows", "labels", "seed_rows", "nearest"])
def test_a_changed_or_lost_file_is_refused(features, tmp_path, name):
    write(features, tmp_path / "samples")
    file = tmp_path / "samples" / f"{name}.npy"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(InputError, match=rf"{name}\.npy does not match its digest"):
        Samples.open(tmp_path / "samples")
    file.unlink()
    with pytest.raises(InputError, match=rf"{name}\.npy is missing"):
        Samples.open(tmp_path / "samples")


def test_another_artifact_is_refused(features):
    with pytest.raises(InputError, match=r"holds 'longtail\.features'"):
        Samples.open(features.path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_write_nothing(tmp_path, value):
    features = make_features(tmp_path / "features", spoil=value)
    with pytest.raises(InputError, match="NaN or infinite"):
        write(features, tmp_path / "samples", normalise=False)
    assert [path.name for path in tmp_path.iterdir()] == ["features"]


def test_an_interrupted_stream_writes_nothing(features, tmp_path):
    def interrupt(_done, _total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(features, tmp_path / "samples", progress=interrupt)
    assert not list(tmp_path.iterdir())
