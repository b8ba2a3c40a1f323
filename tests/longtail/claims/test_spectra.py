"""Verdicts on spectra where the truth is planted, in both directions."""

import pytest

from longtail.claims.spectra import by_depth, gauss_newton, nearest, outliers, resemblance

NAMES = ["conv1", "conv2", "fc1", "fc2", "head"]
SIZES = dict(zip(NAMES, [9000, 150, 900, 5000, 400], strict=True))


def distances(values, legacy=None):
    legacy = legacy or values
    return [
        {"wasserstein_scaled": v, "curvature_scaled": v, "legacy": w, "others": 0.1}
        for v, w in zip(values, legacy, strict=True)
    ]


@pytest.fixture
def runs_with(make_run, make_snapshot, make_layer):
    """Return a function that makes runs, a seed each, of two checkpoints, with the layers' distances to the whole."""

    def make(seeds, legacy=None, sizes=None):
        runs = []
        for seed, values in enumerate(seeds, 1):
            layers = {
                name: make_layer(name, distances=entry, **({"parameters": sizes[name]} if sizes else {}))
                for name, entry in zip(NAMES, distances(values, legacy), strict=True)
            }
            snapshots = [make_snapshot(epoch, layers=layers) for epoch in (4, 9)]
            runs.append(make_run(make_snapshot(0, deep=False), *snapshots, seed=seed))
        return runs

    return make


def test_layers_like_the_whole(runs_with):
    found = resemblance(runs_with([[0.01] * 5, [0.02] * 5, [0.015] * 5]), "three")
    assert found.verdict == "holds"
    assert found.values["criteria"]["distance"]["value"] == pytest.approx((0.01 * 0.02 * 0.015) ** (1 / 3) / 0.5)
    assert found.values["distance_by_layer"]["fc1"] == [0.01, 0.02, 0.015]


def test_layers_no_more_like_the_whole_than_chance(runs_with, make_run, make_snapshot):
    apart = [make_run(make_snapshot(layers={"bulk_share": 0.2, "control": 0.01}), seed=seed) for seed in (1, 2)]
    assert resemblance(apart, "two").verdict == "does not hold"
    layers_alike = resemblance(runs_with([[0.15] * 5, [0.16] * 5, [0.14] * 5]), "three")
    assert layers_alike.verdict == "holds partly"  # nearer than a shuffled spectrum, but not than another layer
    assert not layers_alike.values["criteria"]["others"]["met"]


def test_middle_layers_nearest_whatever_their_size(runs_with):
    """Distances rise from mid-depth, and the largest layer is the first."""
    found = nearest(runs_with([[0.31, 0.12, 0.1, 0.11, 0.3]] * 8, sizes=SIZES), "eight")
    criteria = found.values["criteria"]
    assert criteria["true"]["value"] == pytest.approx(0.11 / 0.305)
    assert criteria["nearest"]["value"] == pytest.approx(0.4)  # 1 less the chance of 3 in 5
    assert found.values["nearest"] == {"fc1": 16}
    assert "Nearest at 16 checkpoints: fc1 16; 3 of 5 layers are middle ones" in found.measured
    assert found.verdict == "holds"


def test_few_seeds_could_be_chance(runs_with):
    """Five of five seeds have a nearest layer among the three middle ones of five with probability 0.6^5."""
    found = nearest(runs_with([[0.3, 0.12, 0.1, 0.11, 0.3]] * 5, sizes=SIZES), "five")
    assert found.verdict == "holds partly"
    assert not found.values["criteria"]["nearest"]["met"]


def test_last_layer_nearest(runs_with):
    found = nearest(runs_with([[0.5, 0.4, 0.3, 0.2, 0.1]] * 3), "three")
    assert found.verdict == "does not hold"
    assert found.values["nearest"] == {"head": 6}


def test_middle_by_the_true_distance_only(runs_with):
    found = nearest(runs_with([[0.3, 0.2, 0.1, 0.2, 0.3]] * 8, legacy=[0.1, 0.2, 0.3, 0.4, 0.2], sizes=SIZES), "eight")
    assert found.verdict == "holds partly"
    assert not found.values["criteria"]["legacy"]["met"]


def test_nearest_by_size_alone(runs_with):
    """Distances that go by the ranks of size leave nothing that depth could explain."""
    found = nearest(runs_with([[0.5, 0.3, 0.1, 0.2, 0.4]] * 2), "two")
    assert found.values["criteria"]["size"]["value"] == 0
    assert found.verdict == "holds partly"


@pytest.mark.parametrize(
    ("layers", "verdict"),
    [
        ({"outliers": 9, "residual_share": 1e-6}, "holds"),
        ({"outliers": 2, "residual_share": 1e-6}, "holds partly"),
        ({"outliers": 9, "residual_share": 0.4}, "holds partly"),
        ({"outliers": 40, "residual_share": 0.4}, "does not hold"),
        ({"outliers": None, "residual_share": 0.4}, "does not hold"),
    ],
)
def test_outliers(make_run, make_snapshot, layers, verdict):
    runs = [make_run(make_snapshot(2, layers=layers), seed=seed) for seed in (1, 2, 3)]
    found = outliers(runs, "three")
    assert found.verdict == verdict
    assert ("is a theorem" in found.measured) == (layers["residual_share"] < 1e-3)
    counted = layers["outliers"]
    remark = "Outliers were not counted" if counted is None else f"for 10 classes: {counted} after epoch 2"
    assert remark in found.measured


def test_gauss_newton_near_at_some_epochs(make_run, make_snapshot):
    def run(seed):
        far = make_snapshot(1, top=1.0, gauss_newton_top=0.65, lowest_eigenvalue=-1.12)
        near = make_snapshot(8, top=26.0, gauss_newton_top=25.9, lowest_eigenvalue=-0.3)
        return make_run(far, near, seed=seed)

    found = gauss_newton([run(seed) for seed in (1, 2, 3)], "three")
    assert found.verdict == "holds"
    assert "0.650 after epoch 1, 0.996 after epoch 8" in found.measured
    assert found.values["criteria"]["negative"]["value"] == pytest.approx(0.3 / 26)


def test_gauss_newton_never_near(make_run, make_snapshot):
    runs = [make_run(make_snapshot(2, top=1.0, gauss_newton_top=0.65, lowest_eigenvalue=-1.12), seed=s) for s in (1, 2)]
    assert gauss_newton(runs, "two").verdict == "does not hold"


def test_gauss_newton_near_at_its_top_only(make_run, make_snapshot):
    runs = [make_run(make_snapshot(2, top=1.0, gauss_newton_top=0.99, lowest_eigenvalue=-0.8), seed=s) for s in (1, 2)]
    assert gauss_newton(runs, "two").verdict == "holds partly"


def test_a_single_network_has_values_without_intervals(make_run, make_snapshot):
    found = resemblance([make_run(make_snapshot())], "one")
    assert found.verdict == "holds"
    assert "[" not in found.measured


def test_distances_over_depth_are_means_over_checkpoints(runs_with):
    assert by_depth(runs_with([[0.1, 0.2, 0.3, 0.4, 0.5]]), "legacy") == {
        name: [pytest.approx(value)] for name, value in zip(NAMES, [0.1, 0.2, 0.3, 0.4, 0.5], strict=True)
    }
