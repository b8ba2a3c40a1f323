import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from longtail.calibration.tukey import tukey_transform
from longtail.errors import InputError
from longtail.networks import BACKBONES, HEADS, build, load, save


@pytest.fixture
def images():
    return torch.randint(0, 256, (6, 8, 8, 1), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_build_depends_on_its_seed_alone(make_spec, same_weights):
    torch.manual_seed(1)
    one = build(make_spec(), seed=3)
    torch.manual_seed(2)
    again, other = build(make_spec(), seed=3), build(make_spec(), seed=4)
    assert same_weights(one, again)
    assert not same_weights(one, other)


def test_build_leaves_the_global_generator_alone(make_spec):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    build(make_spec(), seed=3)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("head", sorted(HEADS))
@pytest.mark.parametrize("network", sorted(BACKBONES))
def test_every_backbone_and_head_give_a_logit_a_class(make_spec, images, network, head):
    classifier = build(make_spec(network=network, head=head), seed=0)
    x = classifier.preprocess(images)
    assert classifier(x).shape == (6, 10)
    assert torch.equal(classifier(x), classifier.classify(classifier.features(x)))


def test_preprocess_is_normalisation_of_values_in_0_to_1(make_spec):
    spec = make_spec(image_shape=(8, 8, 3), mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.125))
    raw = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    x = build(spec, seed=0).preprocess(torch.from_numpy(raw))
    expected = ((raw / 255 - spec.mean) / spec.std).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(x.numpy(), expected, rtol=0, atol=1e-5)
    assert x.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("size", [5, 8, 11, 24])
def test_resizing_is_pillows_antialiased_one(make_spec, size):
    spec = make_spec(image_shape=(8, 10, 3), mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.125))
    raw = np.random.default_rng(0).integers(0, 256, (2, 8, 10, 3), dtype=np.uint8)
    plain = build(spec, seed=0).preprocess(torch.from_numpy(raw))
    x = build(dataclasses.replace(spec, input_size=size), seed=0).preprocess(torch.from_numpy(raw))
    assert x.shape == (2, 3, size, size)
    for planes, expected in zip(x.flatten(0, 1), plain.flatten(0, 1), strict=True):
        picture = Image.fromarray(expected.numpy()).resize((size, size), Image.Resampling.BILINEAR)  # of floats
        np.testing.assert_allclose(planes.numpy(), np.asarray(picture), atol=1e-5)


def test_images_of_the_networks_size_are_not_resized(make_spec, images):
    plain, sized = build(make_spec(), seed=0), build(make_spec(input_size=8), seed=0)
    assert torch.equal(plain.preprocess(images), sized.preprocess(images))


def test_one_mean_a_channel_repeats_grey(make_spec, images):
    classifier = build(make_spec(mean=(0.1, 0.2, 0.3), std=(1.0, 1.0, 1.0)), seed=0)
    x = classifier.preprocess(images)
    assert x.shape == (6, 3, 8, 8)
    torch.testing.assert_close(x[:, 0] - x[:, 2], torch.full((6, 8, 8), 0.2))
    assert classifier(x).shape == (6, 10)


@pytest.mark.parametrize("tukey", [0.0, 0.5, 2.0])
def test_classify_transforms_features_like_the_sampler(make_spec, tukey):
    features = torch.rand(5, 64, generator=torch.Generator().manual_seed(0))
    for head in ("cosine", "linear"):
        classifier = build(make_spec(head=head), seed=0)
        classifier.tukey = tukey
        seen = F.normalize(features, dim=1) if head == "cosine" else features
        expected = classifier.head(torch.from_numpy(tukey_transform(seen.numpy(), tukey)))
        torch.testing.assert_close(classifier.classify(features), expected)


def test_power_one_leaves_features_alone(make_spec):
    features = torch.rand(5, 64, generator=torch.Generator().manual_seed(0))
    classifier = build(make_spec(head="linear"), seed=0)
    assert torch.equal(classifier.classify(features), classifier.head(features))


@pytest.mark.parametrize("shape", [(33, 32, 1), (8, 40, 3)])
def test_lenet_refuses_large_images(make_spec, shape):
    with pytest.raises(InputError, match=rf"at most 32x32 pixels, these have {shape[0]}x{shape[1]}: set data.image"):
        build(make_spec(network="lenet", image_shape=shape), seed=0)


@pytest.mark.parametrize("network", ["small_cnn", "resnet32_128"])
def test_round_trip_is_bit_equal(make_spec, same_weights, images, tmp_path, network):
    classifier = build(make_spec(network=network, scale=16.0), seed=3)
    classifier.train()(classifier.preprocess(images))  # so that batch norm's averages are not the initial ones
    classifier.tukey = 0.9
    save(classifier, tmp_path / "network", {"method": "crt"})
    loaded, manifest = load(tmp_path / "network")
    assert same_weights(classifier, loaded)
    assert (loaded.spec, loaded.tukey, manifest["method"]) == (classifier.spec, 0.9, "crt")
    assert not loaded.training
    x = classifier.preprocess(images)
    assert torch.equal(classifier.eval()(x), loaded(x))


def test_channels_last_weights_are_saved_too(make_spec, same_weights, tmp_path):
    classifier = build(make_spec(), seed=3)
    save(classifier.to(memory_format=torch.channels_last), tmp_path / "network", {})
    assert same_weights(load(tmp_path / "network")[0], classifier)


def test_artifact_is_weights_and_json_without_pickle(make_spec, tmp_path):
    save(build(make_spec(), seed=3), tmp_path / "network", {})
    assert sorted(entry.name for entry in (tmp_path / "network").iterdir()) == ["manifest.json", "weights.safetensors"]
    weights = (tmp_path / "network" / "weights.safetensors").read_bytes()
    header = json.loads(weights[8 : 8 + int.from_bytes(weights[:8], "little")])
    assert header["head.weight"]["dtype"] == "F32"
    assert header["__metadata__"] == {"input_size": "0"}


def test_artifact_without_an_input_size_is_still_read(make_spec, tmp_path):
    path = tmp_path / "network"
    save(build(make_spec(), seed=3), path, {})
    manifest = json.loads((path / "manifest.json").read_text())
    del manifest["spec"]["input_size"]
    (path / "manifest.json").write_text(json.dumps(manifest))
    assert load(path)[0].spec == make_spec()


def test_tampered_weights_are_found(make_spec, tmp_path):
    path = tmp_path / "network"
    save(build(make_spec(), seed=3), path, {})
    weights = bytearray((path / "weights.safetensors").read_bytes())
    weights[-1] ^= 1
    (path / "weights.safetensors").write_bytes(weights)
    with pytest.raises(InputError, match=r"weights.safetensors does not match its digest"):
        load(path)


def test_same_network_gives_the_same_bytes(make_spec, tmp_path):
    for name in ("one", "two"):
        save(build(make_spec(), seed=3), tmp_path / name, {})
    for name in ("manifest.json", "weights.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
