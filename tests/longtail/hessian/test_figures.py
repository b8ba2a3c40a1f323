import dataclasses
import io
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from longtail.hessian import Report, analyze
from longtail.hessian.figures import density_figure, depth_figure


@pytest.fixture(scope="module")
def report() -> Report:
    torch.manual_seed(0)
    model = nn.Sequential(*(module for _ in range(9) for module in (nn.Linear(4, 4), nn.ReLU())), nn.Linear(4, 3))
    batch = (torch.randn(10, 4), torch.arange(10) % 3)
    return analyze(model, F.cross_entropy, [batch], probes=2, lanczos_steps=4)


def test_density_figure_spreads_six_layers_over_depth(report):
    figure = density_figure(report)
    titles = [axes.get_title(loc="left").split()[0] for axes in figure.axes]
    assert titles == ["full", "0", "4", "8", "10", "14", "18"]
    assert all(axes.get_yscale() == "log" for axes in figure.axes)


def test_depth_figure_names_every_layer(report):
    (axes,) = depth_figure(report).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        name.removesuffix(".weight") for name in report.layers
    ]
    assert axes.get_yscale() == "log"


def test_negative_values_are_hollow_and_said_to_be(report):
    layers = {name: dataclasses.replace(layer, trace=-1.0, top_eigenvalue=0.0) for name, layer in report.layers.items()}
    (axes,) = depth_figure(dataclasses.replace(report, layers=layers)).axes
    assert "hollow: negative" in axes.get_title(loc="left")
    assert any(line.get_markerfacecolor() == "white" and len(line.get_xdata()) == 10 for line in axes.lines)


@pytest.mark.parametrize("draw", [density_figure, depth_figure])
def test_figures_render_without_pyplot(report, draw):
    imported = "matplotlib.pyplot" in sys.modules
    file = io.BytesIO()
    draw(report).savefig(file, dpi=50)
    assert file.getbuffer().nbytes > 2000
    assert ("matplotlib.pyplot" in sys.modules) == imported


def test_one_layer_is_enough(report):
    single = dataclasses.replace(report, layers={"0.weight": report.layers["0.weight"]})
    assert len(density_figure(single).axes) == 2
    assert np.isfinite(depth_figure(single).axes[0].get_ylim()).all()
