from pathlib import Path

import numpy as np

from longtail.calibration.artifact import Samples
from longtail.features import Features


def test_every_class_gets_as_many_as_the_largest(chain):
    artifact = chain["calibrated_sampling"]["samples"]
    samples = Samples.open(Path(artifact.path))
    features = Features.open(Path(chain["feature_extraction"]["features"].path))
    counts = features.train_counts + np.bincount(samples.labels, minlength=10)
    assert set(counts.tolist()) == {int(features.train_counts.max())}
    assert artifact.metadata["generated"] == len(samples.rows) == len(samples.labels)
    assert samples.balanced_size == counts.sum()


def test_a_cosine_head_gets_normalised_features(chain):
    samples = Samples.open(Path(chain["calibrated_sampling"]["samples"].path))
    assert samples.normalise
    assert samples.config.n_neighbors == 3


def test_another_seed_draws_other_features(call, inputs, chain, tmp_path):
    made = call("calibrated_sampling", tmp_path, inputs("calibrated_sampling"), seed=4)
    first = Samples.open(Path(chain["calibrated_sampling"]["samples"].path))
    second = Samples.open(Path(made["samples"].path))
    assert first.rows.shape == second.rows.shape
    assert not np.array_equal(first.rows, second.rows)


def test_more_neighbours_than_classes_are_refused(call, inputs, refuses, tmp_path):
    given = inputs("calibrated_sampling")
    line = refuses(lambda: call("calibrated_sampling", tmp_path, given, {"n_neighbors": 11.0}), tmp_path)
    assert "n_neighbors is 11" in line and "at most 10" in line
