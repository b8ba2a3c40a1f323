import dataclasses
import io
import sys

import numpy as np
import pytest

from longtail.errors import InputError
from longtail.hessian.comparison import compare_layers, size_control
from longtail.hessian.density import exact_density
from longtail.hessian.report import LayerReport, Report
from longtail.hessian.spectra_figures import distance_figure


def layer(seed: int, parameters: int) -> LayerReport:
    density = exact_density(np.random.default_rng(seed).exponential(size=30), parameters, 20)
    unknown = {field.name: 0 for field in dataclasses.fields(LayerReport)}
    return LayerReport(**unknown | {"parameters": parameters, "density": density})


@pytest.fixture
def report() -> Report:
    layers = {f"{i}.weight": layer(i, 40 * 2**i) for i in range(6)}
    return Report(full=layer(9, 5000), layers=layers, samples=10, loss=1.0, cost=1.0, seed=0, curvature="ggn")


def test_lines_are_the_distances(report):
    top, bottom = distance_figure(report).axes
    expected = [found.wasserstein_scaled for found in compare_layers(report).values()]
    np.testing.assert_allclose(top.lines[0].get_ydata(), expected)
    assert [line.get_linestyle() for line in top.lines[:4]] == ["-", "-", "-", ":"]
    assert [bar.get_height() for bar in bottom.patches] == [layer.parameters for layer in report.layers.values()]
    assert [label.get_text() for label in bottom.get_xticklabels()] == list("012345")


def test_legend_says_what_size_explains(report):
    found = [distance.wasserstein_scaled for distance in compare_layers(report).values()]
    control = size_control(found, [layer.parameters for layer in report.layers.values()])
    first, *_ = distance_figure(report).axes[0].get_legend().get_texts()
    assert first.get_text().endswith(f"({control.size:+.2f}; {control.depth_given_size:+.2f})")


def test_figure_renders_without_pyplot(report):
    imported = "matplotlib.pyplot" in sys.modules
    file = io.BytesIO()
    distance_figure(report).savefig(file, dpi=50)
    assert file.getbuffer().nbytes > 2000
    assert ("matplotlib.pyplot" in sys.modules) == imported


def test_one_layer_equal_to_the_whole_network_is_drawn(report):
    single = dataclasses.replace(report, layers={"0.weight": report.full})
    top, _ = distance_figure(single).axes
    assert top.get_legend().get_texts()[0].get_text().endswith("(–; –)")
    assert np.isnan(top.lines[0].get_ydata()).all()


def test_layers_without_a_density_are_left_out(report):
    bare = dataclasses.replace(report.layers["0.weight"], density=None)
    top, bottom = distance_figure(dataclasses.replace(report, layers=report.layers | {"0.weight": bare})).axes
    assert len(bottom.patches) == len(top.lines[0].get_ydata()) == 5
    with pytest.raises(InputError, match="no layer has a spectral density"):
        distance_figure(dataclasses.replace(report, layers={"0.weight": bare}))
