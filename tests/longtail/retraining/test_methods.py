import copy
import dataclasses
from dataclasses import dataclass, fields

import numpy as np
import pytest
import torch

from longtail.calibration.artifact import Samples, write_samples
from longtail.config import CalibrationConfig, FeaturesConfig, RetrainingConfig
from longtail.errors import InputError
from longtail.features import Features, extract
from longtail.networks import HEADS, build, load, save
from longtail.retraining import METHODS, TrainingImages, methods, retrain

LEARNING = ["crt", "tailcalib", "tailcalibx", "modals"]
AT_ONCE = ["logit_adjustment", "tau_norm"]


@dataclass
class World:
    """A classifier and what retraining needs."""

    classifier: torch.nn.Module
    features: Features
    samples: Samples


@pytest.fixture
def redo(tmp_path):
    """Return a function that retrains the head of a world's classifier."""

    def call(world, method, *, classifier=None, samples=None, seed=1, images=None, on_epoch=None, **changes):
        config = RetrainingConfig(**({"epochs": 3, "batch_size": 64} | changes))
        given = (classifier or world.classifier, world.features, samples or world.samples, config)
        return retrain(method, *given, seed=seed, work=tmp_path, images=images, on_epoch=on_epoch)

    return call


def test_default_settings_name_known_methods():
    known = next(field.metadata["items"] for field in fields(RetrainingConfig) if field.name == "methods")
    assert set(known) == set(METHODS)
    assert set(RetrainingConfig().methods) < set(METHODS)


def test_unknown_method(make_world, redo):
    with pytest.raises(InputError, match="has 'magic': choose from baseline, crt, tailcalib, tailcalibx, modals"):
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


@pytest.mark.parametrize("head", sorted(HEADS))
@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_works_with_every_head(make_world, redo, same_weights, tmp_path, method, head):
    world = make_world(head=head)
    result = redo(world, method, epochs=1)
    assert all(torch.isfinite(value).all() for value in result.state_dict().values())
    assert same_weights(result.head, world.classifier.head) == (method == "baseline")
    save(result, tmp_path / "classifier", {})
    x = torch.from_numpy(np.array(world.features.split("test")))
    assert torch.equal(load(tmp_path / "classifier")[0].classify(x), result.classify(x))


@pytest.mark.parametrize("method", AT_ONCE)
def test_methods_that_do_not_learn_have_no_epochs_and_no_seed(make_world, redo, same_weights, method):
    reported = []
    results = [redo(make_world(), method, seed=seed, on_epoch=lambda *_: reported.append(1)) for seed in (1, 2)]
    assert same_weights(*results)
    assert reported == []


@pytest.mark.parametrize("method", ["baseline", *AT_ONCE])
def test_without_strength_only_tau_norm_changes_the_logits(make_world, redo, method):
    world = make_world(head="linear")
    x = torch.from_numpy(np.array(world.features.split("test")))
    expected = world.classifier.classify(x) - (world.classifier.head.bias if method == "tau_norm" else 0)
    torch.testing.assert_close(redo(world, method, tau=0.0).classify(x), expected)


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
    assert redo(world, "crt").tukey == redo(world, "modals").tukey == 1


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


@pytest.mark.parametrize("head", ["cosine", "linear"])
def test_modals_learns_from_the_seeds_of_the_generated_features(make_world, redo, monkeypatch, head):
    """Without noise it is TailCalib on a set whose generated rows are copies of their seeds."""
    world = make_world(head=head, tukey=0.5)  # of which modals knows nothing
    real = np.array(world.features.train())
    if head == "cosine":
        real /= np.linalg.norm(real, axis=1, keepdims=True)
    config = dataclasses.replace(world.samples.config, tukey=1.0)
    copies = dataclasses.replace(world.samples, rows=real[world.samples.seed_rows], config=config)
    x = torch.from_numpy(np.array(world.features.split("test")))
    found, expected = redo(world, "modals", modals_noise=0.0), redo(world, "tailcalib", samples=copies)
    torch.testing.assert_close(found.classify(x), expected.classify(x), rtol=1e-4, atol=1e-4)
    noisy = redo(world, "modals", modals_noise=1.0).classify(x)
    assert not torch.allclose(noisy, expected.classify(x), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(("epoch_length", "steps"), [("balanced", 2000 // 64), ("real", 492 // 64)])
def test_an_epoch_of_tailcalibx_is_as_long_as_asked(make_world, redo, monkeypatch, epoch_length, steps):
    world, lengths = make_world(), []
    monkeypatch.setattr(methods, "fit_head", lambda _, epoch_set, *__, **___: lengths.append(epoch_set))
    redo(world, "tailcalibx", epoch_length=epoch_length)
    features, order = lengths[0](0, torch.Generator().manual_seed(0))
    assert len(order) // 64 == steps
    assert len(order.unique()) == len(order)
    assert len(features) == 2000  # the pool that is drawn from
    assert (order >= 492).float().mean() == pytest.approx(1508 / 2000, abs=0.06)


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


@pytest.fixture(scope="module")
def digits(dataset, make_spec, tmp_path_factory):
    """Return an untrained network of the digits, its features and a generated set."""
    folder, classifier = tmp_path_factory.mktemp("digits"), build(make_spec(), seed=1)
    extract(classifier, dataset, FeaturesConfig(views=1), "crop", folder / "features", seed=1)
    features = Features.open(folder / "features")
    write_samples(features, 0, CalibrationConfig(), True, folder / "samples", seed=1)
    return World(classifier.eval(), features, Samples.open(folder / "samples"))


@pytest.mark.parametrize(("method", "setting"), [("tailcalibx", "fresh=backbone"), ("crt", "crt_batch_norm=train")])
def test_images_that_are_needed_are_asked_for(make_world, redo, dataset, method, setting):
    name, _, value = setting.partition("=")
    with pytest.raises(InputError, match=f"^retraining.{setting} needs images: give the data set too"):
        redo(make_world(), method, **{name: value})
    with pytest.raises(InputError, match="are not those of the 383 training images that were given"):
        redo(make_world(), method, images=TrainingImages(dataset.split("train"), "crop"), **{name: value})
    redo(make_world(), "tailcalib" if method == "crt" else "crt", **{name: value})  # of no concern to others


def test_tailcalibx_can_take_fresh_features_from_the_backbone(digits, redo, dataset, tmp_path, same_weights):
    images, sets = TrainingImages(dataset.split("train"), "crop"), []

    def on_epoch(_epoch, _metrics):
        sets.append((
            np.load(tmp_path / "fresh" / "train" / "view-0.npy"),
            np.array(Samples.open(tmp_path / "epoch").rows),
        ))

    given = {"images": images, "fresh": "backbone"}
    result = redo(digits, "tailcalibx", on_epoch=on_epoch, **given)
    assert len(sets) == 3
    for which in (0, 1):  # features of the images, and what is generated from them
        assert not np.array_equal(sets[0][which], sets[1][which])
        assert not np.array_equal(sets[1][which], sets[2][which])
    assert same_weights(result.backbone, digits.classifier.backbone)
    assert same_weights(result, redo(digits, "tailcalibx", **given))
    assert not same_weights(result, redo(digits, "tailcalibx"))


def test_crt_can_let_batch_norm_drift(digits, redo, dataset, same_weights):
    images = TrainingImages(dataset.split("train"), "crop")
    given = {"images": images, "crt_batch_norm": "train", "epochs": 1}
    result = redo(digits, "crt", **given)
    before, after = digits.classifier.backbone, result.backbone
    assert not result.backbone.training
    assert all(torch.equal(value, after.get_parameter(name)) for name, value in before.named_parameters())
    assert (after.bn1.running_mean - before.bn1.running_mean).abs().max() > 0.01
    assert int(after.bn1.num_batches_tracked) == digits.samples.balanced_size // 64
    assert same_weights(result, redo(digits, "crt", **given))
    assert not digits.classifier.backbone.training
