import dataclasses

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import spearmanr

from longtail.errors import InputError
from longtail.hessian.comparison import compare, compare_layers, compare_others, size_control
from longtail.hessian.density import exact_density
from longtail.hessian.report import Density, LayerReport, Report

STEPS = 20


def spectrum(seed: int = 0, size: int = 30, parameters: int = 100) -> Density:
    return exact_density(np.random.default_rng(seed).exponential(size=size), parameters, STEPS)


def points(*values: float) -> Density:
    return exact_density(np.array(values), len(values), STEPS)


def mirrored(density: Density) -> Density:
    return Density(-density.nodes[::-1], density.weights[::-1], -density.grid[::-1], density.curve[::-1])


def layer(density: Density, parameters: int = 100) -> LayerReport:
    unknown = {field.name: 0 for field in dataclasses.fields(LayerReport)}
    return LayerReport(**unknown | {"parameters": parameters, "density": density})


def report(*layers: Density, full: Density | None = None) -> Report:
    return Report(
        full=layer(full or spectrum(99)),
        layers={f"{i}.weight": layer(density, 10 + i) for i, density in enumerate(layers)},
        samples=5,
        loss=1.0,
        cost=1.0,
        seed=0,
        curvature="ggn",
    )


def test_all_distances_to_itself_are_zero_14():
    assert dataclasses.astuple(compare(spectrum(), spectrum())) == (0, 0, 0, 0, 0)


def test_only_the_published_measure_takes_the_mirror_image_for_the_same_14():
    found = compare(spectrum(), mirrored(spectrum()))
    assert found.wasserstein > 0.1
    assert found.wasserstein_scaled > 0.1
    assert found.curvature_scaled > 0.1
    assert found.jensen_shannon > 0.01
    assert found.legacy == 0


def test_distance_of_point_masses_has_a_closed_form():
    found = compare(points(1.0, 2.0, 4.0), points(1.5, 2.5, 4.5))
    assert found.wasserstein == pytest.approx(0.5, abs=1e-12)
    scaled = (abs(1 / 4 - 1.5 / 4.5) + abs(2 / 4 - 2.5 / 4.5)) / 3
    assert found.wasserstein_scaled == pytest.approx(scaled, abs=1e-12)


def test_weights_count_in_the_distance():
    """A tenth of the mass has to go from 1 to 0."""
    few, many = exact_density(np.ones(1), 10, STEPS), exact_density(np.ones(2), 10, STEPS)
    assert compare(few, many).wasserstein == pytest.approx(0.1, abs=1e-12)


def test_zeros_weigh_nothing_by_curvature():
    values = spectrum().nodes[spectrum().nodes > 0]
    found = compare(exact_density(values, 40, STEPS), exact_density(values, 9000, STEPS))
    assert found.wasserstein_scaled > 0.1
    assert found.curvature_scaled == pytest.approx(0, abs=1e-12)


def test_curvature_at_two_places_has_a_closed_form():
    """Two thirds of the curvature of (1, 1/2) lie at 1, all that of (1, 1) do."""
    assert compare(points(1.0, 0.5), points(1.0, 1.0)).curvature_scaled == pytest.approx(1 / 6, abs=1e-12)


def test_scaled_distances_know_no_units():
    other = spectrum(1)
    stretched = exact_density(7 * other.nodes[other.nodes > 0], 100, STEPS)
    found = compare(other, stretched)
    assert found.wasserstein > 0.5
    assert found.wasserstein_scaled == pytest.approx(0, abs=1e-12)
    assert found.curvature_scaled == pytest.approx(0, abs=1e-12)
    assert found.jensen_shannon == pytest.approx(0, abs=1e-12)
    assert found.legacy == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_divergence_is_symmetric_and_that_of_another_library(seed):
    """From the formula on a finer grid, with each library's own code."""
    a, b = spectrum(seed), mirrored(spectrum(seed + 50))
    grid = np.linspace(-2, 2, 20001)
    curves = []
    for density in (a, b):
        nodes = density.nodes / np.abs(density.nodes).max()
        width = 2 / 19 / np.sqrt(8 * np.log(1.25))
        curves.append(np.exp(-0.5 * ((grid[:, None] - nodes) / width) ** 2) @ density.weights)
    expected = jensenshannon(*curves, base=2) ** 2
    assert compare(a, b).jensen_shannon == pytest.approx(expected, abs=1e-4)
    assert compare(b, a).jensen_shannon == pytest.approx(compare(a, b).jensen_shannon, abs=1e-12)


def test_divergence_of_spectra_far_apart_is_one_bit():
    assert compare(points(1.0, 1.0), points(-1.0, -1.0)).jensen_shannon == pytest.approx(1, abs=1e-6)


def test_a_zero_matrix_can_be_compared():
    nothing = exact_density(np.zeros(0), 10, STEPS)
    assert dataclasses.astuple(compare(nothing, nothing)) == (0, 0, 0, 0, 0)
    assert compare(nothing, points(1.0, 1.0)).wasserstein_scaled == 1
    assert np.isfinite(dataclasses.astuple(compare(nothing, spectrum()))).all()


def test_layers_are_compared_with_the_whole_network():
    found = compare_layers(report(spectrum(0), spectrum(1), full=spectrum(1)))
    assert list(found) == ["0.weight", "1.weight"]
    assert found["0.weight"] == compare(spectrum(0), spectrum(1))
    assert found["1.weight"].wasserstein == 0


def test_layers_without_a_density_are_left_out():
    whole = report(spectrum(0), spectrum(1), spectrum(2))
    bare = dataclasses.replace(whole.layers["1.weight"], density=None)
    partly = dataclasses.replace(whole, layers=whole.layers | {"1.weight": bare})
    assert list(compare_layers(partly)) == list(compare_others(partly)) == ["0.weight", "2.weight"]
    with pytest.raises(InputError, match="no spectral density"):
        compare(bare, whole.full)


def test_layers_are_compared_with_all_others():
    found = compare_others(report(points(1.0, 0.5), points(1.0, 0.1), points(1.0, 0.7)))
    assert found["0.weight"].wasserstein == pytest.approx((0.2 + 0.1) / 2, abs=1e-12)
    assert found["1.weight"].wasserstein == pytest.approx((0.2 + 0.3) / 2, abs=1e-12)
    assert compare_others(report(spectrum())) == {}


def test_size_control_is_the_rank_correlation_of_an_independent_library():
    random = np.random.default_rng(3)
    distances, sizes = random.exponential(size=12), random.integers(10, 10_000, 12)
    off = np.abs(np.linspace(0, 1, 12) - 0.5).round(12)
    found = size_control(distances, sizes)
    between = spearmanr(np.stack([distances, np.log(sizes), off], 1)).statistic
    partial = -np.linalg.inv(between)
    assert found.size == pytest.approx(between[0, 1], abs=1e-12)
    assert found.depth == pytest.approx(between[0, 2], abs=1e-12)
    assert found.depth_given_size == pytest.approx(partial[0, 2] / np.sqrt(partial[0, 0] * partial[2, 2]), abs=1e-12)


def test_size_alone_leaves_nothing_for_depth():
    """Middle layers are the largest and the nearest: the distance is a function of size."""
    sizes = [10, 30, 90, 80, 20, 5]
    found = size_control([1 / size for size in sizes], sizes)
    assert found.size == pytest.approx(-1, abs=1e-12)
    assert found.depth > 0.9
    assert found.depth_given_size is None


def test_depth_alone_is_seen_at_equal_sizes():
    found = size_control([3.0, 2.0, 1.0, 1.5, 2.5, 3.5], [10] * 6)
    assert found.size is None
    assert found.depth == found.depth_given_size > 0.9


def test_few_layers_have_no_correlation():
    assert dataclasses.astuple(size_control([1.0, 2.0, 3.0], [1, 2, 4])) == (None, None, None)
