import copy

import numpy as np
import pytest
import torch

from longtail.calibration.artifact import Samples
from longtail.config import RetrainingConfig
from longtail.errors import InputError
from longtail.retraining import METHODS, retrain

LEARNING = ["crt", "tailcalib", "tailcalibx"]
SEEDS = range(4)


@pytest.fixture
def redo(tmp_path):
    """Return a function that retrains the head of a world's classifier."""

    def call(world, method, *, classifier=None, seed=1, on_epoch=None, **changes):
        config = RetrainingConfig(**({"epochs": 3, "batch_size": 64} | changes))
        given = (classifier or world.classifier, world.features, world.samples, config)
        return retrain(method, *given, seed=seed, work=tmp_path, on_epoch=on_epoch)

    return call


def test_default_settings_name_known_methods():
    assert set(RetrainingConfig().methods) == set(METHODS)


def test_unknown_method(make_world, redo):
    with pytest.raises(InputError, match=r"has 'magic': choose from baseline, crt, tailcalib, tailcalibx$"):
        redo(make_world(), "magic")


@pytest.mark.parametrize("method", sorted(METHODS))
def test_backbone_and_the_classifier_that_was_given_stay_bit_equal(make_world, redo, same_weights, method):
    world = make_world()
    before = copy.deepcopy(world.classifier)
    result = redo(world, method)
    assert same_weights(world.classifier, before)
    assert same_weights(result.backbone, before.backbone)
    assert not result.training
    assert world.classifier.tukey == 1


def test_baseline_leaves_the_head_bit_equal(make_world, redo, same_weights):
    world = make_world()
    result = redo(world, "baseline")
    assert result is not world.classifier
    assert same_weights(result.head, world.classifier.head)


@pytest.mark.parametrize("method", LEARNING)
def test_same_seed_gives_the_same_bits(make_world, redo, same_weights, method):
    world = make_world(views=2)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = redo(world, method)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again, other = redo(world, method), redo(world, method, seed=2)
    assert same_weights(one, again)
    assert not same_weights(one.head, other.head)
    assert not same_weights(one.head, world.classifier.head)


@pytest.mark.parametrize("method", LEARNING)
def test_only_crt_forgets_the_head(make_world, redo, same_weights, method):
    world = make_world()
    garbled = copy.deepcopy(world.classifier)
    with torch.no_grad():
        garbled.head.weight.normal_(generator=torch.Generator().manual_seed(0))
        garbled.head.scale.fill_(3.0)
    same = same_weights(redo(world, method).head, redo(world, method, classifier=garbled).head)
    assert same == (method == "crt")


@pytest.mark.parametrize("method", LEARNING)
def test_without_learning_crt_has_a_new_head_and_the_others_the_old(make_world, redo, same_weights, method):
    world = make_world()
    result = redo(world, method, learning_rate=0.0, crt_learning_rate=0.0)
    assert same_weights(result.head, world.classifier.head) == (method != "crt")


@pytest.mark.parametrize("head", ["cosine", "linear"])
@pytest.mark.parametrize("method", LEARNING)
def test_tail_gains_where_it_can_borrow(make_world, redo, method, head):
    """Classes with fewer than 20 rows gain at least 10 points for every seed, and all classes 5 on average."""
    gains = []
    for seed in SEEDS:
        world = make_world(seed=seed, head=head)
        before = world.accuracies(world.classifier)
        after = world.accuracies(redo(world, method, seed=seed))
        few = np.flatnonzero(world.features.train_counts < 20)
        gains.append(((after - before)[few].mean(), (after - before).mean()))
    few_gains, all_gains = np.transpose(gains)
    assert few_gains.min() > 10
    assert all_gains.mean() > 5


@pytest.mark.parametrize("method", ["tailcalib", "tailcalibx"])
@pytest.mark.parametrize("head", ["cosine", "linear"])
def test_raw_features_are_classified_in_the_sampler_s_space(make_world, redo, method, head):
    world = make_world(head=head, tukey=0.5)
    result = redo(world, method)
    assert result.tukey == pytest.approx(0.5)
    x = torch.from_numpy(np.array(world.features.split("test")))
    seen = torch.from_numpy(world.samples.transform(x.numpy()))
    torch.testing.assert_close(result.classify(x), result.head(seen), rtol=1e-4, atol=1e-4)
    few = world.features.train_counts < 20
    assert world.accuracies(result)[few].mean() > world.accuracies(world.classifier)[few].mean()
    assert redo(world, "crt").tukey == 1


@pytest.mark.parametrize("method", ["tailcalib", "tailcalibx"])
def test_only_tailcalibx_draws_a_fresh_set_each_epoch(make_world, redo, tmp_path, method):
    world, sets = make_world(), []

    def on_epoch(_epoch, _metrics):
        if (tmp_path / "epoch").exists():
            sets.append(np.array(Samples.open(tmp_path / "epoch").rows))

    redo(world, method, on_epoch=on_epoch)
    if method == "tailcalib":
        assert sets == []
        return
    assert len(sets) == 3
    sets.append(world.samples.rows)
    assert {rows.shape for rows in sets} == {world.samples.rows.shape}
    for one in range(4):
        for other in range(one):
            assert not np.array_equal(sets[one], sets[other])


def test_tailcalibx_goes_round_the_augmented_views(make_world, redo, tmp_path):
    from longtail.artifacts import read_json

    views = []
    redo(
        make_world(views=2),
        "tailcalibx",
        epochs=5,
        on_epoch=lambda *_: views.append(read_json(tmp_path / "epoch" / "manifest.json")["view"]),
    )
    assert views == [1, 2, 1, 2, 1]


@pytest.mark.parametrize("method", LEARNING)
def test_every_epoch_is_reported(make_world, redo, method):
    epochs = []
    redo(make_world(), method, epochs=2, on_epoch=lambda epoch, metrics: epochs.append((epoch, sorted(metrics))))
    assert epochs == [(1, ["head/accuracy", "head/loss"]), (2, ["head/accuracy", "head/loss"])]


@pytest.mark.parametrize("method", LEARNING)
def test_classes_that_are_equal_already_need_no_samples(make_world, redo, method):
    world = make_world(counts=(20,) * 10)
    assert world.samples.balanced_size == 200
    assert world.accuracies(redo(world, method)).mean() > 50
