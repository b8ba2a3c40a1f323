import itertools
import sys

import numpy as np
import pytest

from longtail.errors import InputError
from longtail.evaluation.sweep_figures import heat_figure, methods_figure, setting_figure
from longtail.evaluation.sweep_table import Point, tabulate
from longtail.pages import png

K, ALPHA = "calibration.n_neighbors", "calibration.alpha"


def sweep(*, seeds=(0, 1, 2), few=True, grid=None, methods=("baseline", "tailcalib", "tailcalibx")):
    """A sweep that does not touch its first method."""
    random = np.random.default_rng(0)
    grid = {K: ("10", "2", "1"), ALPHA: ("0", "0.2")} if grid is None else grid
    points = []
    for seed, values in itertools.product(seeds, itertools.product(*grid.values())):
        found = {}
        for place, method in enumerate(methods):
            value = 60.0 + seed + place * random.uniform(1, 9)
            found[method] = {"all": value, "many": 99.0, "medium": 80.0, "few": value - 20 if few else None}
        points.append(Point(dict(zip(grid, values, strict=True)), seed, found))
    return tabulate(points)


def bars(container):
    """Return the middles and half lengths of error bars."""
    segments = container.lines[2][0].get_segments()
    return [(low[1] + high[1]) / 2 for low, high in segments], [(high[1] - low[1]) / 2 for low, high in segments]


def texts(artists):
    return [artist.get_text() for artist in artists]


def test_a_setting_is_drawn_in_ascending_order_with_its_deviations():
    table = sweep()
    figure = setting_figure(table, K, {ALPHA: "0.2"})
    assert [axes.get_title() for axes in figure.axes] == ["all classes", "few-shot classes"]
    for axes, score in zip(figure.axes, ("all", "few"), strict=True):
        assert texts(axes.get_xticklabels()) == ["1", "2", "10"]
        assert [container.get_label() for container in axes.containers] == list(table.methods)
        for container, method in zip(axes.containers, table.methods, strict=True):
            spreads = [table.find(method, {K: k, ALPHA: "0.2"}).spreads[score] for k in ("1", "2", "10")]
            middles, lengths = bars(container)
            assert middles == pytest.approx([spread.mean for spread in spreads])
            assert lengths == pytest.approx([spread.deviation for spread in spreads])
    assert figure.get_supxlabel() == f"{ALPHA} = 0.2; mean ± standard deviation of 3 seeds"


def test_error_bars_of_methods_stand_side_by_side():
    axes = setting_figure(sweep(), K, {ALPHA: "0"}).axes[0]
    starts = [container.lines[0].get_xdata()[0] for container in axes.containers]
    assert len(set(starts)) == 3
    assert max(map(abs, starts)) < 0.3


def test_words_keep_their_order():
    table = sweep(grid={"backbone.augmentation": ("none", "crop_flip", "autoaugment")})
    axes = setting_figure(table, "backbone.augmentation", {}).axes[0]
    assert texts(axes.get_xticklabels()) == ["none", "crop_flip", "autoaugment"]


def test_long_values_are_turned():
    values = tuple(f"torchvision:network_number_{number}" for number in range(4))
    axes = setting_figure(sweep(grid={"backbone.network": values}), "backbone.network", {}).axes[0]
    assert {label.get_rotation() for label in axes.get_xticklabels()} == {30.0}


def test_one_seed_has_no_error_bars_and_no_few_shot_class_no_panel():
    figure = setting_figure(sweep(seeds=(5,), few=False), K, {ALPHA: "0"})
    assert [axes.get_title() for axes in figure.axes] == ["all classes"]
    assert not any(container.has_yerr for container in figure.axes[0].containers)
    assert figure.get_supxlabel() == f"{ALPHA} = 0; one seed"


def test_a_heat_map_holds_the_means_of_every_method_that_is_touched():
    table = sweep(seeds=(0,))
    figure = heat_figure(table, (K, ALPHA), {})
    maps = [axes for axes in figure.axes if axes.images and len(axes.texts) == 6]
    assert [axes.get_ylabel() for axes in maps] == [f"tailcalib\n{ALPHA}", "", f"tailcalibx\n{ALPHA}", ""]
    for axes, (method, score) in zip(maps, itertools.product(table.methods[1:], ("all", "few")), strict=True):
        values = axes.images[0].get_array()
        expected = [
            [table.find(method, {K: k, ALPHA: alpha}).spreads[score].mean for k in ("1", "2", "10")]
            for alpha in ("0", "0.2")
        ]
        np.testing.assert_allclose(values, expected)
        assert texts(axes.texts) == [f"{value:.1f}" for value in np.ravel(expected)]
        framed = axes.patches[0]
        place = np.unravel_index(np.argmax(expected), (2, 3))
        assert (framed.get_y() + 0.5, framed.get_x() + 0.5) == place


def test_a_heat_map_leaves_a_cell_without_result_empty():
    table = sweep()
    rows = tuple(row for row in table.rows if row.values != ("2", "0.2"))
    figure = heat_figure(type(table)(table.keys, table.values, table.methods, table.seeds, rows), (K, ALPHA), {})
    assert len(figure.axes[0].texts) == 5
    assert png(figure)


def test_nothing_that_varies_is_a_map_of_every_method():
    figure = heat_figure(sweep(methods=("baseline",)), (K, ALPHA), {})
    assert [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()] == [f"baseline\n{ALPHA}"]


def test_methods_side_by_side_with_their_deviations():
    table = sweep(grid={})
    axes = methods_figure(table, {}).axes[0]
    shown = [container for container in axes.containers if hasattr(container, "patches")]
    assert [container.get_label() for container in shown] == list(table.methods)
    for container, method in zip(shown, table.methods, strict=True):
        spreads = table.find(method, {}).spreads
        assert [bar.get_height() for bar in container] == [
            spreads[score].mean for score in ("all", "many", "medium", "few")
        ]
        assert bars(container.errorbar)[1] == pytest.approx([
            spreads[score].deviation for score in ("all", "many", "medium", "few")
        ])


@pytest.mark.parametrize("number", [1, 9])
def test_any_number_of_methods_renders(number):
    table = sweep(seeds=(0, 1), methods=tuple(f"method ${place}$" for place in range(number)))
    for figure in (
        setting_figure(table, K, {ALPHA: "0"}),
        heat_figure(table, (K, ALPHA), {}),
        methods_figure(table, {K: "1", ALPHA: "0"}),
    ):
        assert png(figure).startswith(b"\x89PNG")


def test_pyplot_is_not_touched():
    already = "matplotlib.pyplot" in sys.modules
    heat_figure(sweep(), (K, ALPHA), {})
    assert ("matplotlib.pyplot" in sys.modules) == already


def test_what_was_not_swept_is_refused():
    with pytest.raises(InputError, match=f"'data.seed' was not swept: choose from {K}, {ALPHA}"):
        setting_figure(sweep(), "data.seed", {})
    with pytest.raises(InputError, match=r"'data\.seed' was not swept"):
        heat_figure(sweep(), (K, "data.seed"), {})
    with pytest.raises(InputError, match="choose from nothing"):
        setting_figure(sweep(grid={}), K, {})
