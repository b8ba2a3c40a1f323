from pathlib import Path

import pytest

from longtail.hessian.report import Report
from longtail.networks import load


def test_metadata_is_what_the_report_says(chain):
    artifact = chain["hessian_analysis"]["curvature"]
    report = Report.load(Path(artifact.path))
    assert artifact.metadata["trace"] == report.full.trace
    assert artifact.metadata["top_eigenvalue"] == report.full.top_eigenvalue
    assert report.samples == 10  # one image of each class
    assert report.full.lanczos_steps == 3


def test_every_layer_of_the_network_is_there(chain):
    report = Report.load(Path(chain["hessian_analysis"]["curvature"].path))
    classifier, _ = load(Path(chain["backbone_training"]["backbone"].path))
    sizes = {name: value.numel() for name, value in classifier.named_parameters()}
    assert report.layers
    for name, layer in report.layers.items():
        assert sizes[name] == layer.parameters
    assert report.full.parameters == sum(sizes.values())


def test_another_seed_probes_the_same_images(call, inputs, chain, tmp_path):
    made = call("hessian_analysis", tmp_path, inputs("hessian_analysis"), seed=4)
    first, second = (Report.load(Path(a.path)) for a in (chain["hessian_analysis"]["curvature"], made["curvature"]))
    assert second.loss == pytest.approx(first.loss)
    assert second.seed != first.seed
