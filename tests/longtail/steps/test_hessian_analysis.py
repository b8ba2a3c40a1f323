from unittest.mock import create_autospec

import numpy as np
import pytest
import torch

from longtail.hessian import Report
from longtail.networks import load
from longtail.steps import hessian_analysis
from longtail.tracking.recording import Run


class ReachedError(Exception):
    """The analysis would start now."""


@pytest.fixture
def analysed(call, artifacts, monkeypatch, tmp_path):
    """Return a function that gives what a step would analyse: images (n, C, H, W), labels (n,), batch sizes, seed."""
    given = {}

    def analyze(classifier, loss, batches, **parameters):
        given.update(parameters, batches=batches, classifier=classifier)
        raise ReachedError

    monkeypatch.setattr(hessian_analysis, "analyze", analyze)

    def find(seed=1, **config):
        with pytest.raises(ReachedError):
            call("hessian_analysis", tmp_path / "out", artifacts, config, seed=seed)
        images, labels = (torch.cat(parts) for parts in zip(*given["batches"], strict=True))
        return images, labels, [len(part) for _, part in given["batches"]], given["seed"]

    return find


@pytest.mark.parametrize("per_class", [1, 3, 5])
def test_the_subset_is_class_balanced(analysed, dataset, per_class):
    assert dataset.train_counts.min() >= 5
    _, labels, _, _ = analysed(images_per_class=per_class)
    np.testing.assert_array_equal(np.bincount(labels), [per_class] * 10)


def test_smaller_classes_give_all_they_have(analysed, dataset):
    _, labels, _, _ = analysed(images_per_class=50)
    np.testing.assert_array_equal(np.bincount(labels), np.minimum(dataset.train_counts, 50))


def test_the_subset_does_not_depend_on_the_seed(analysed):
    images, labels, _, seed = analysed(images_per_class=2, seed=1)
    again, same, _, other = analysed(images_per_class=2, seed=2)
    assert torch.equal(images, again) and torch.equal(labels, same)
    assert (seed, other) == (1, 2)


def test_batches_are_training_images_as_the_network_reads_them(analysed, artifacts, dataset):
    images, labels, sizes, _ = analysed(images_per_class=2, batch_size=8)
    assert sizes == [8, 8, 4]
    classifier, _ = load(artifacts["backbone"])
    split = dataset.split("train")
    known = classifier.preprocess(torch.from_numpy(split.images(slice(None))))
    distances = torch.cdist(images.flatten(1).double(), known.flatten(1).double())
    assert distances.min(1).values.max() < 1e-6
    np.testing.assert_array_equal(split.labels[distances.argmin(1).numpy()], labels)


def test_the_page_and_the_run_say_what_the_report_holds(call, artifacts, tmp_path):
    run = create_autospec(Run, instance=True)
    done = call("hessian_analysis", tmp_path, artifacts, run=run)
    report = Report.load(done.outputs["curvature"])
    assert done.described == {"curvature": {"trace": report.full.trace, "top_eigenvalue": report.full.top_eigenvalue}}
    logged = {name: value for call in run.log_metrics.call_args_list for name, value in call.args[0].items()}
    assert logged["hessian/trace"] == report.full.trace
    for name, layer in report.layers.items():
        assert logged[f"hessian/trace/{name}"] == layer.trace
        assert logged[f"hessian/top_eigenvalue/{name}"] == layer.top_eigenvalue
    page = done.outputs["report"].read_text()
    assert "10 training images, at most 1 of a class" in page
    assert all(name in page for name in report.layers)
    assert {call.args[1] for call in run.log_figure.call_args_list} == {
        "spectral_density.png",
        "curvature_by_depth.png",
        "spectral_distance.png",
    }


@pytest.mark.parametrize(("curvature", "name"), [("ggn", "Gauss-Newton matrix"), ("hessian", "Hessian")])
def test_the_curvature_is_chosen_and_named_on_the_page(call, artifacts, tmp_path, curvature, name):
    done = call("hessian_analysis", tmp_path, artifacts, {"curvature": curvature, "images_per_class": 2})
    report = Report.load(done.outputs["curvature"])
    assert report.curvature == curvature
    assert (report.full.lowest_eigenvalue > -1e-6) == (curvature == "ggn")
    page = done.outputs["report"].read_text()
    assert f"{name} of the cross-entropy on 20 training images" in page
    assert "and choice of images" in page
