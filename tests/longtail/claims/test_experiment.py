import numpy as np
import pytest

from longtail.claims import experiment
from longtail.claims.experiment import ALL, DECAY, MIDDLE, SGD, STRENGTHS, TUNING_SEEDS, Experiment, digits, untrained
from longtail.config import to_dict
from longtail.errors import InputError


def test_ways_of_training_differ_in_their_penalty_alone():
    recipes = {arm: to_dict(Experiment().recipe(arm, 0.003)) for arm in STRENGTHS}
    plain = recipes[SGD]
    assert plain["trace_penalty"]["weight"] == plain["weight_decay"] == 0
    assert (plain["momentum"], plain["schedule"], plain["augmentation"], plain["head"]) == (
        0.9,
        "constant",
        "none",
        "linear",
    )
    changed = {arm: {key for key in plain if recipe[key] != plain[key]} for arm, recipe in recipes.items()}
    assert changed == {SGD: set(), DECAY: {"weight_decay"}, ALL: {"trace_penalty"}, MIDDLE: {"trace_penalty"}}
    assert recipes[DECAY]["weight_decay"] == 0.003
    penalties = recipes[ALL]["trace_penalty"], recipes[MIDDLE]["trace_penalty"]
    assert [penalty["weight"] for penalty in penalties] == [0.003, 0.003]
    assert [penalty["layers"] for penalty in penalties] == [["all"], ["middle"]]
    assert penalties[0] | {"layers": 0} == penalties[1] | {"layers": 0}


def test_budgets_are_equal():
    tuned = [strengths for arm, strengths in STRENGTHS.items() if arm != SGD]
    assert len({len(strengths) for strengths in tuned}) == 1
    assert len(set(TUNING_SEEDS)) == len(TUNING_SEEDS)


@pytest.mark.parametrize(("epochs", "compared"), [(30, [6, 10, 18, 30]), (2, [1, 2]), (1, [1])])
def test_checkpoints(epochs, compared):
    made = Experiment(epochs=epochs)
    assert made.compared_epochs == compared
    assert made.measured_epochs[0] == 0
    assert made.measured_epochs[-1] == epochs
    assert set(compared) <= set(made.measured_epochs)


def test_wrong_settings_are_refused():
    with pytest.raises(InputError, match=r"backbone\.epochs is 0: it must be at least 1"):
        Experiment(epochs=0).recipe(SGD, 0.0)
    with pytest.raises(InputError, match=r"backbone\.network is 'lennet': choose from"):
        Experiment(network="lennet").recipe(SGD, 0.0)


def test_images_are_balanced_disjoint_and_built_once(tmp_path, monkeypatch, same_weights):
    monkeypatch.setattr(experiment, "_IMAGES", 12)
    dataset = digits(tmp_path)
    train, validation = dataset.split("train"), dataset.split("validation")
    assert np.bincount(train.labels).tolist() == np.bincount(validation.labels).tolist() == [12] * 10
    assert not set(train.ids) & set(validation.ids)
    assert digits(tmp_path).digest == dataset.digest
    assert len(list(tmp_path.iterdir())) == 1
    one, again, other = (untrained(Experiment(), dataset, seed) for seed in (1, 1, 2))
    assert same_weights(one, again)
    assert not same_weights(one, other)
