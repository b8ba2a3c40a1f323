import numpy as np
import pytest

from longtail.hessian.snapshot import Snapshot
from longtail.hessian.training_figures import curves_figure, layers_figure
from longtail.pages import png


def snapshots(traces, layers=3):
    return [
        Snapshot(
            epoch,
            loss=2.0 / (1 + epoch),
            trace=trace,
            top_eigenvalue=trace / 4,
            layer_traces={f"layer{i}.weight": trace / (i + 1) for i in range(layers)},
            layer_top_eigenvalues={f"layer{i}.weight": trace / (i + 5) for i in range(layers)},
        )
        for epoch, trace in enumerate(traces)
    ]


def test_curves_are_those_of_the_whole_network():
    curvature, loss = curves_figure(snapshots([4.0, 100.0, -1.0])).axes
    trace, top = curvature.lines
    np.testing.assert_array_equal(trace.get_ydata(), [4.0, 100.0, np.nan])
    np.testing.assert_array_equal(top.get_ydata(), [1.0, 25.0, np.nan])
    np.testing.assert_array_equal(loss.lines[0].get_ydata(), [2.0, 1.0, 2 / 3])
    assert curvature.get_yscale() == "log"
    assert [text.get_text() for text in curvature.get_legend().get_texts()] == ["trace", "top eigenvalue"]


def test_maps_have_a_row_for_each_layer_and_a_column_for_each_moment():
    trace, top, *_ = layers_figure(snapshots([4.0, 100.0, -1.0])).axes
    (image,) = trace.images
    values = image.get_array()
    np.testing.assert_allclose(values[:, 1], [100, 50, 100 / 3])
    assert values.mask[:, 2].all() and not values.mask[:, :2].any()
    np.testing.assert_allclose(top.images[0].get_array()[:, 0], [4 / 5, 4 / 6, 4 / 7])
    assert [label.get_text() for label in trace.get_yticklabels()] == ["layer0", "layer1", "layer2"]
    assert "grey: not positive" in trace.get_title(loc="left")
    assert type(image.norm).__name__ == "LogNorm"


@pytest.mark.parametrize(("traces", "layers"), [([3.0], 1), ([0.0, 0.0], 2), ([1.0] * 30, 70)])
def test_few_many_and_no_values_are_drawn(traces, layers):
    for figure in (curves_figure(snapshots(traces, layers)), layers_figure(snapshots(traces, layers))):
        assert png(figure).startswith(b"\x89PNG")
