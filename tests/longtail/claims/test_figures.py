import numpy as np
import pytest

from longtail.claims.experiment import ALL, DECAY, MIDDLE, SGD
from longtail.claims.figures import distance_figure, flatness_figure, training_figure
from longtail.pages import png

ERROR = {SGD: 5.0, DECAY: 4.5, ALL: 3.0, MIDDLE: 3.5}


def test_training_shows_every_seed_and_the_geometric_mean(make_run, make_snapshot):
    curves = [[1.0, 100.0, 10.0], [4.0, 400.0, 40.0]]
    runs = [
        make_run(*(make_snapshot(i, value, value / 2, deep=False) for i, value in enumerate(curve)), seed=seed)
        for seed, curve in enumerate(curves)
    ]
    figure = training_figure(runs)
    trace, top = figure.axes
    assert (trace.get_yscale(), top.get_yscale()) == ("log", "log")
    drawn = [line.get_ydata() for line in trace.lines]
    assert drawn[2] == pytest.approx([2.0, 200.0, 20.0])
    assert top.lines[2].get_ydata() == pytest.approx([1.0, 100.0, 10.0])
    assert png(figure).startswith(b"\x89PNG")


def test_distances_mark_the_nearest_layer(make_run, make_snapshot, make_layer):
    names = ["conv1", "conv2", "fc1", "fc2", "head"]
    layers = {
        name: make_layer(name, distances={"wasserstein_scaled": value, "curvature_scaled": value, "legacy": 1 - value})
        for name, value in zip(names, [0.5, 0.3, 0.1, 0.2, 0.4], strict=True)
    }
    figure = distance_figure([[make_run(make_snapshot(layers=layers))]] * 2)
    assert len(figure.axes) == 6
    true, _, legacy = figure.axes[:3]
    stars = [[line.get_xdata()[0] for line in axes.lines if line.get_marker() == "*"] for axes in (true, legacy)]
    assert stars == [[2], [0]]
    assert [label.get_text() for label in true.get_xticklabels()] == names
    assert png(figure).startswith(b"\x89PNG")


def test_flatness_shows_each_way_of_training(make_arms):
    figure = flatness_figure(make_arms(ERROR, {SGD: 10.0, DECAY: 8.0, ALL: 2.0, MIDDLE: 3.0}))
    course, scatter = figure.axes
    assert len(course.lines) == 21  # of 20 runs, and the level at which traces are compared
    dashed = course.lines[-1].get_xdata()
    assert dashed == pytest.approx([2 * 0.5**7] * 2)
    assert len(scatter.collections) == 4 + 8  # points, and two error bars each
    points = np.concatenate([entry.get_offsets() for entry in scatter.collections if len(entry.get_offsets()) == 5])
    assert points[:, 1].max() == pytest.approx(5.2)
    assert png(figure).startswith(b"\x89PNG")
