"""Every method of the first paper and every stronger base, from its preset, on the digits: each with each."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from longtail.artifacts import read_json
from longtail.config import to_dict
from longtail.settings import METHODS_FOLDER, resolve

BASES = [
    "ce",
    "cosine-ce",
    "cbd",
    "balanced-softmax",
    "logit-adjustment",
    "ldam-drw",
    "strong-augmentation",
    "htr",
    "htr-middle",
    "reference",
]
METHODS = ("baseline", "crt", "modals", "tailcalib", "tailcalibx", "logit_adjustment", "tau_norm")
SHORT = ["backbone.epochs=6", "features.views=2", "retraining.epochs=3", "calibration.n_neighbors=2"]


def few(results):
    return {name: value["few"] for name, value in read_json(results / "evaluations.json").items()}


@pytest.mark.parametrize("base", BASES)
def test_every_base_with_every_method(base, call, dataset, tmp_path):
    config = resolve(f"digits,{base}", SHORT)
    at: dict[str, Any] = {"dataset": dataset.path}
    for step, group in (
        ("backbone_training", config.backbone),
        ("feature_extraction", config.features),
        ("calibrated_sampling", config.calibration),
    ):
        call(step, tmp_path, at, to_dict(group))
        at |= {name: tmp_path / name for name in ("backbone", "features", "samples") if (tmp_path / name).exists()}
    at["classifiers"] = []
    for method in METHODS:
        folder = tmp_path / method
        call("classifier_retraining", folder, at, to_dict(config.retraining), method=method)
        at["classifiers"].append(folder / "classifier")
    call("evaluation", tmp_path, at, to_dict(config.evaluation))
    accuracy = few(tmp_path / "results")
    assert set(accuracy) == set(METHODS)
    if base in ("ce", "cosine-ce"):  # trained on what is there: balancing must help the tail
        better = [accuracy[method] for method in ("crt", "modals", "tailcalib", "tailcalibx", "logit_adjustment")]
        assert np.mean(better) > accuracy["baseline"]


def test_a_row_of_the_paper_s_table_is_a_preset():
    rows = {
        "ce": ("linear", ("baseline", "crt", "tailcalib", "tailcalibx")),
        "crt": ("linear", ("baseline", "crt")),
        "modals": ("linear", ("baseline", "modals")),
        "tau-norm": ("linear", ("baseline", "tau_norm")),
        "tailcalib": ("cosine", ("baseline", "tailcalib")),
        "tailcalibx": ("cosine", ("baseline", "tailcalibx")),
        "cbd-tailcalibx": ("cosine", ("baseline", "tailcalibx")),
    }
    for name, (head, methods) in rows.items():
        config = resolve(f"digits,{name}")
        assert (config.backbone.head, config.retraining.methods) == (head, methods), name
        assert bool(config.backbone.distillation.weight) == name.startswith("cbd")
    assert resolve("digits,htr").backbone.trace_penalty.layers == ("all",)
    assert resolve("digits,htr-middle").backbone.trace_penalty.layers == ("middle",)
    assert {*BASES, *rows} == {path.stem for path in METHODS_FOLDER.glob("*.yaml")}
    assert dataclasses.asdict(resolve("digits,cosine-ce")) == dataclasses.asdict(resolve("digits"))
