import json

import torch
from torch import nn
from torch.nn import functional as F

from longtail.hessian import analyze
from longtail.hessian.snapshot import Snapshot


def test_it_holds_what_the_report_holds_and_survives_json(generator):
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    batches = [(torch.randn(6, 3, generator=generator), torch.tensor([0, 1, 0, 1, 1, 0]))]
    report = analyze(model, F.cross_entropy, batches, probes=2, lanczos_steps=3)
    snapshot = Snapshot.of(4, report)
    metrics = snapshot.metrics()
    assert (snapshot.epoch, metrics["curvature/loss"]) == (4, report.loss)
    assert metrics["curvature/trace"] == report.full.trace
    assert metrics["curvature/top_eigenvalue"] == report.full.top_eigenvalue
    for name, layer in report.layers.items():
        assert metrics[f"curvature/trace/{name}"] == layer.trace
        assert metrics[f"curvature/top_eigenvalue/{name}"] == layer.top_eigenvalue
    assert len(metrics) == 3 + 2 * len(report.layers)
    assert Snapshot(**json.loads(json.dumps(snapshot.to_dict()))) == snapshot
