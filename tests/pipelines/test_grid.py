import argparse
import dataclasses
import itertools
import json

import pytest

from longtail.config import SweepConfig, parse
from longtail.errors import InputError
from longtail.settings import resolve
from pipelines.grid import add_grid, plan, plan_arguments, rounds

K, VIEWS, FACTOR = "calibration.n_neighbors", "features.views", "data.imbalance_factor"
METHODS = "retraining.methods"


def labels(points):
    return [point.label for point in points]


def test_every_combination_is_a_point_with_the_settings_of_resolve():
    sweep = plan("digits", [f"{K}=1,2", "calibration.alpha=0,1e-2"], "0,5", ["backbone.epochs=3"])
    assert len(sweep.points) == 8
    expected = {
        resolve("digits", ["backbone.epochs=3", f"{K}={k}", f"calibration.alpha={alpha}", f"seed={seed}"])
        for k, alpha, seed in itertools.product("12", ("0", "0.01"), "05")
    }
    assert {point.config for point in sweep.points} == expected
    assert sweep.points[0].label == f"{K}=1 calibration.alpha=0 seed=0"
    assert sweep.title == f"sweep digits: {K} × calibration.alpha × 2 seeds"


def test_the_seed_leaves_the_choice_of_images_alone():
    sweep = plan("digits", [], "0,1,2", ["data.seed=7"])
    assert {point.config.data.seed for point in sweep.points} == {7}
    assert [point.config.seed for point in sweep.points] == [0, 1, 2]
    assert labels(sweep.points) == ["seed=0", "seed=1", "seed=2"]


def test_without_seeds_the_presets_own_is_taken():
    sweep = plan("digits", [f"{K}=1,2"])
    assert (sweep.seeds, sweep.title) == ((1,), f"sweep digits: {K} × seed 1")


def test_points_that_share_their_first_steps_follow_each_other():
    sweep = plan("digits", [f"{K}=1,2", f"{FACTOR}=10,60"], "0,1")
    order = [(point.settings[FACTOR], point.config.seed, point.settings[K]) for point in sweep.points]
    assert order == list(itertools.product(("10", "60"), (0, 1), ("1", "2")))
    assert list(sweep.points[0].settings) == [K, FACTOR]


def test_presets_are_laid_over_each_other(tmp_path):
    (tmp_path / "mine.yaml").write_text("calibration: {n_neighbors: 4}")
    sweep = plan(f"digits,{tmp_path / 'mine.yaml'}", ["calibration.alpha=0,1"])
    assert {point.config.calibration.n_neighbors for point in sweep.points} == {4}
    assert sweep.title.startswith("sweep digits, mine: ")


def test_commas_inside_brackets_and_quotes_part_nothing():
    sweep = plan("digits", [f"{METHODS}=[baseline, crt], [tailcalib]", 'data.image_column="a,b",c'])
    assert sweep.grid == {METHODS: ("[baseline, crt]", "[tailcalib]"), "data.image_column": ('"a,b"', "c")}
    configs = [point.config for point in sweep.points]
    assert {config.retraining.methods for config in configs} == {("baseline", "crt"), ("tailcalib",)}
    assert {config.data.image_column for config in configs} == {"a,b", "c"}


@pytest.mark.parametrize(("values", "held"), [("1,3.0,5", "3.0"), ("1,2", "1")])
def test_a_figure_of_other_settings_holds_the_presets_value(values, held):
    assert plan("digits", [f"{K}={values}"]).held == {K: held}


def test_the_summary_says_which_point_a_result_is_of():
    sweep = plan("digits", [f"{K}=1,3"], "0,1")
    config = parse(SweepConfig, sweep.summary(sweep.points[1:]), "sweep")
    assert [json.loads(text) for text in config.points] == [
        {"seed": point.config.seed, "settings": dict(point.settings)} for point in sweep.points[1:]
    ]
    assert json.loads(config.held) == {K: "3"}


@pytest.mark.parametrize(
    ("grid", "seeds", "message"),
    [
        ([f"{K}=1,2,two"], "", "calibration.n_neighbors is 'two': give a number"),
        ([f"{K}=1,0"], "", "it must be at least 1"),
        (["calibration.n_neighbours=1,2"], "", "did you mean 'n_neighbors'"),
        (["calibrations.n_neighbors=1,2"], "", "'calibrations' is no group of settings: choose from data, backbone"),
        (["n_neighbors=1,2"], "", "write GROUP.KEY=V1,V2,…"),
        ([K], "", "write GROUP.KEY=V1,V2,…"),
        ([f"{K}=1,,2"], "", "has an empty value"),
        ([f"{K}="], "", "has an empty value"),
        ([f"{METHODS}=[crt,[tailcalib]"], "", "lacks ']': close every bracket"),
        (["data.path='a"], "", "close every bracket and quote"),
        ([f"{K}=1", f"{K}=2"], "", f"--grid {K} is given twice"),
        ([f"{K}=1,2,1.0"], "", f"the points '{K}=1 seed=1' and '{K}=1.0 seed=1' are the same"),
        (["seed=1,2"], "", "give seeds as --seeds 1,2"),
        ([f"{K}=1,2"], "0,one", "--seeds '0,one': write whole numbers"),
        ([f"{K}=1,2"], "0,1,0", "has a seed twice"),
        ([f"{K}=1,2"], "0,-1", "seed is -1: it must be at least 0"),
    ],
)
def test_wrong_input_is_refused(grid, seeds, message):
    with pytest.raises(InputError) as raised:
        plan("digits", grid, seeds)
    assert message in str(raised.value)


def test_a_wrong_preset_is_refused_first():
    with pytest.raises(InputError, match="'digit' is not a preset: did you mean 'digits'"):
        plan("digit", [f"{K}=one"])


def test_the_command_lines_options():
    parser = argparse.ArgumentParser()
    add_grid(parser)
    given = parser.parse_args(["--grid", f"{K}=1,2", "--grid", f"{VIEWS}=1,2", "--seeds", "0,1"])
    arguments = argparse.Namespace(preset="digits", set=["backbone.epochs=3"], data="", table="", **vars(given))
    assert plan_arguments(arguments) == plan("digits", [f"{K}=1,2", f"{VIEWS}=1,2"], "0,1", ["backbone.epochs=3"])


def keys(config):
    """Return what each step after the choice of images depends on, independently of the module."""
    plain = dataclasses.asdict(config)
    inputs = [plain["data"], plain["seed"]]
    found = {}
    for step in ("backbone", "features", "calibration"):
        inputs = [*inputs, plain[step]]
        found[step] = repr(inputs)
    found["hessian"] = repr([plain["data"], plain["seed"], plain["backbone"], plain["hessian"]])
    settings = {name: value for name, value in plain["retraining"].items() if name != "methods"}
    return {*found.items(), *(("retraining", method, repr([inputs, settings])) for method in config.retraining.methods)}


@pytest.mark.parametrize(
    ("grid", "seeds", "sizes"),
    [
        ([f"{K}=1,2,3,5"], "0,1,2", [3, 9]),
        ([], "0,1,2", [3]),
        (["backbone.epochs=1,2"], "0,1", [4]),
        ([f"{VIEWS}=1,2", f"{K}=1,2"], "0", [1, 2, 1]),
        ([f"{METHODS}=[crt],[crt,tailcalib]"], "0", [1, 1]),
        (["evaluation.few_below=10,15"], "0,1", [2, 2]),
        (["hessian.probes=4,8", f"{K}=1,2"], "0", [1, 2, 1]),
    ],
)
def test_no_two_points_of_a_round_need_the_same_new_step(grid, seeds, sizes):
    sweep = plan("digits", grid, seeds)
    planned = rounds(sweep.points)
    done = set()
    for points in planned:
        needed = [keys(point.config) - done for point in points]
        assert sum(map(len, needed)) == len(set().union(*needed))
        done |= set().union(*needed)
    assert sorted(labels(itertools.chain(*planned))) == sorted(labels(sweep.points))
    assert [len(points) for points in planned] == sizes
