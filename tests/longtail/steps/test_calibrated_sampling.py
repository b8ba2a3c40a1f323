from unittest.mock import create_autospec

import numpy as np
import pytest

from longtail.artifacts import new_artifact
from longtail.calibration.artifact import Samples
from longtail.errors import InputError
from longtail.features import Features
from longtail.networks import build, save
from longtail.tracking.recording import Run


def test_all_classes_become_as_large_as_the_largest(chain, artifacts):
    done, features = chain["calibrated_sampling"], Features.open(artifacts["features"])
    samples = Samples.open(done.outputs["samples"])
    np.testing.assert_array_equal(
        features.train_counts + np.bincount(samples.labels, minlength=10), features.train_counts.max()
    )
    assert done.described == {"samples": {"generated": len(samples.labels)}}
    assert samples.balanced_size == 10 * features.train_counts.max()


def test_the_page_and_the_run_count_the_same(call, artifacts, tmp_path):
    run = create_autospec(Run, instance=True)
    done = call("calibrated_sampling", tmp_path, artifacts, run=run)
    features, generated = Features.open(artifacts["features"]), done.described["samples"]["generated"]
    page = done.outputs["report"].read_text()
    assert f"{generated:,} features generated beside {features.train_counts.sum():,} real ones" in page
    assert f"every class now has {features.train_counts.max():,}" in page
    run.log_metrics.assert_called_once_with({
        "sampling/generated": generated,
        "sampling/balanced": 10 * features.train_counts.max(),
    })
    assert [call.args[1] for call in run.log_figure.call_args_list] == ["nearest_classes.png", "tsne.png"]
    run.log_text.assert_called_once_with(page, "report.html")
    assert page.count("<img") == 2 and page.count("real and") == 1
    assert page.count("itself ") == 9  # a row of the table for every class but the largest


def test_the_page_does_not_call_unequal_classes_equal(call, artifacts, tmp_path):
    done = call("calibrated_sampling", tmp_path, artifacts, {"fill": 0.5})
    counts = Features.open(artifacts["features"]).train_counts
    filled = counts + np.rint(0.5 * (counts.max() - counts)).astype(int)
    assert done.described["samples"]["generated"] == (filled - counts).sum()
    assert Samples.open(done.outputs["samples"]).balanced_size == filled.sum()
    page = done.outputs["report"].read_text()
    assert f"classes now have {filled.min()} to {filled.max()}." in page


@pytest.mark.parametrize(("head", "normalised"), [("cosine", True), ("cosine_reference", True), ("linear", False)])
def test_features_are_normalised_for_a_cosine_head(call, artifacts, make_spec, tmp_path, head, normalised):
    save(build(make_spec(head=head), seed=0), tmp_path / "backbone", {})
    samples = Samples.open(
        call("calibrated_sampling", tmp_path / "out", artifacts | {"backbone": tmp_path / "backbone"}).outputs[
            "samples"
        ]
    )
    assert samples.normalise == normalised
    real = samples.transform(Features.open(artifacts["features"]).train())
    assert np.allclose(np.linalg.norm(real, axis=1), 1, atol=1e-5) == normalised


def test_the_seed_draws_other_features_from_the_same_classes(call, artifacts, tmp_path):
    one, same, other = (
        Samples.open(call("calibrated_sampling", tmp_path / str(i), artifacts, seed=seed).outputs["samples"])
        for i, seed in enumerate((1, 1, 2))
    )
    np.testing.assert_array_equal(one.rows, same.rows)
    np.testing.assert_array_equal(one.labels, other.labels)
    assert not np.array_equal(one.rows, other.rows)


def test_equal_classes_need_nothing_generated(call, artifacts, tmp_path):
    rng, names = np.random.default_rng(0), [f"class {label}" for label in range(10)]
    fields = {"class_names": names, "train_counts": [6] * 10, "views": 0}
    with new_artifact(tmp_path / "features", "longtail.features", 1, fields) as folder:
        (folder / "train").mkdir()
        np.save(folder / "train" / "view-0.npy", rng.random((60, 8), np.float32))
        np.save(folder / "train" / "labels.npy", np.arange(60) % 10)
    done = call("calibrated_sampling", tmp_path / "out", artifacts | {"features": tmp_path / "features"})
    assert done.described == {"samples": {"generated": 0}}
    assert "0 features generated beside 60 real ones" in done.outputs["report"].read_text()


def test_more_neighbours_than_classes_are_refused(call, artifacts, tmp_path):
    with pytest.raises(InputError, match="n_neighbors is 11"):
        call("calibrated_sampling", tmp_path / "out", artifacts, {"n_neighbors": 11})
    assert not list((tmp_path / "out").iterdir())
