import dataclasses

import numpy as np
import pytest

from longtail.errors import InputError
from longtail.hessian import Density, LayerReport, Report


def layer(seed: int) -> LayerReport:
    draw = np.random.default_rng(seed)
    density = Density(*(draw.normal(size=size) for size in (5, 5, 9, 9)))
    return LayerReport(10, 1.5, 0.1, 0.2, 2.0, 1e-3, -0.5, 1e-4, 3.5, 2, True, False, 5, density)


@pytest.fixture
def report() -> Report:
    return Report(
        full=layer(0),
        layers={"b.weight": layer(1), "a.weight": dataclasses.replace(layer(2), density=None)},
        samples=7,
        loss=0.3,
        cost=12.5,
        seed=4,
        curvature="ggn",
    )


def assert_equal(first: LayerReport, second: LayerReport) -> None:
    for field in dataclasses.fields(LayerReport):
        if field.name != "density":
            assert getattr(first, field.name) == getattr(second, field.name)
    assert (first.density is None) == (second.density is None)
    for field in dataclasses.fields(Density) if first.density else ():
        np.testing.assert_array_equal(getattr(first.density, field.name), getattr(second.density, field.name))


def test_round_trip_keeps_every_number_and_the_order(report, tmp_path):
    report.save(tmp_path / "report")
    loaded = Report.load(tmp_path / "report")
    assert list(loaded.layers) == ["b.weight", "a.weight"]
    assert (loaded.samples, loaded.loss, loaded.cost, loaded.seed) == (7, 0.3, 12.5, 4)
    assert_equal(loaded.full, report.full)
    for name, found in loaded.layers.items():
        assert_equal(found, report.layers[name])


def test_same_report_same_bytes(report, tmp_path):
    for name in ("one", "two"):
        report.save(tmp_path / name)
    for file in ("report.json", "densities.npz", "manifest.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_saving_again_replaces_and_a_failure_leaves_nothing(report, tmp_path):
    report.save(tmp_path / "report")
    dataclasses.replace(report, samples=8).save(tmp_path / "report")
    assert Report.load(tmp_path / "report").samples == 8
    with pytest.raises(ValueError, match="not JSON compliant"):
        dataclasses.replace(report, loss=float("nan")).save(tmp_path / "other")
    assert [entry.name for entry in tmp_path.iterdir()] == ["report"]


def test_damaged_or_missing_report(report, tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        Report.load(tmp_path / "none")
    report.save(tmp_path / "report")
    file = tmp_path / "report" / "densities.npz"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(InputError, match=r"densities.npz does not match its digest"):
        Report.load(tmp_path / "report")
