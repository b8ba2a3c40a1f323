import dataclasses

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from longtail.errors import InputError
from longtail.networks import build, initialization, load, save, start
from longtail.networks.library import COLOURS, OwnInput
from longtail.networks.torchvision_models import TorchvisionModel

NETWORK = "torchvision:squeezenet1_1"
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class Network(nn.Module):
    """Features of images of 16 pixels a side, or of at least 12 if it is not `fixed`."""

    feature_size, left_out = 5, ("fc.",)

    def __init__(self, fixed):
        super().__init__()
        self.fixed = fixed
        self.conv = nn.Conv2d(COLOURS, 5, 12)

    def forward(self, x):
        if self.fixed and x.shape[2:] != (16, 16):
            raise AssertionError("wrong size")
        return self.conv(x).mean(dim=(2, 3))


class Model:
    """A library's classifier with a backbone that costs nothing to build."""

    def __init__(self, fixed):
        self.own_input = OwnInput(16, fixed, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))

    def build(self):
        return Network(self.own_input.fixed)

    def published(self):
        torch.rand(1)  # as a library that draws weights before it reads them
        torch.manual_seed(9)
        return dict(Network(False).state_dict()) | {"fc.weight": torch.zeros(3, 5)}


@pytest.fixture(params=[False, True], ids=["any size", "fixed size"])
def model(request, monkeypatch):
    """The classifier that every name of a library means in this test."""
    model = Model(request.param)
    for module in ("initialization", "registry"):
        monkeypatch.setattr(f"longtail.networks.{module}.library_model", lambda network: model)
    return model


@pytest.fixture
def spec(make_spec):
    return make_spec(network="torchvision:any", mean=(0.5,), std=(0.25,))


def images(height, width, channels=1):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (3, height, width, channels), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (12, 14), (16, 16), (40, 40)])
def test_new_network_sees_images_as_they_are_if_it_can(model, spec, height, width):
    given = dataclasses.replace(spec, image_shape=(height, width, 1))
    classifier = start(given, "", seed=1)
    readable = (height == 16) if model.own_input.fixed else (height >= 12)
    expected = dataclasses.replace(given, input_size=0 if readable else 16, mean=(0.5,) * 3, std=(0.25,) * 3)
    assert classifier.spec == expected
    x = classifier.preprocess(images(height, width))
    assert x.shape == (3, 3, *((height, width) if readable else (16, 16)))
    assert classifier(x).shape == (3, 10)


def test_grey_images_are_repeated(model, spec):
    grey = images(16, 16)
    x = start(dataclasses.replace(spec, image_shape=(16, 16, 1)), "", seed=1).preprocess(grey)
    expected = ((grey[..., 0] / 255 - 0.5) / 0.25).unsqueeze(1).expand(3, 3, 16, 16)
    torch.testing.assert_close(x, expected)


def test_published_weights_bring_their_size_and_normalisation(model, spec, same_weights):
    classifier = start(spec, "published", seed=1)
    own = model.own_input
    assert classifier.spec == dataclasses.replace(spec, input_size=16, mean=own.mean, std=own.std)
    assert torch.equal(classifier.backbone.conv.weight, model.published()["conv.weight"])
    x = classifier.preprocess(torch.full((1, 8, 8, 1), 51, dtype=torch.uint8))
    expected = (0.2 - torch.tensor(own.mean)) / torch.tensor(own.std)
    torch.testing.assert_close(x, expected.view(1, 3, 1, 1).expand(1, 3, 16, 16))
    assert same_weights(classifier.head, build(classifier.spec, seed=1).head)


def test_global_generator_is_left_alone(model, spec):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    start(spec, "", seed=3)
    start(spec, "published", seed=3)
    assert torch.equal(torch.get_rng_state(), before)


def test_local_file_counts_as_published_weights(model, spec, tmp_path):
    weights = model.published()
    save_file(weights, tmp_path / "weights.safetensors")
    torch.save(weights, tmp_path / "weights.pth")
    for name in ("weights.safetensors", "weights.pth"):
        classifier = start(spec, str(tmp_path / name), seed=1)
        assert classifier.spec == start(spec, "published", seed=1).spec
        assert torch.equal(classifier.backbone.conv.weight, weights["conv.weight"])


def test_file_of_our_own_artifact_brings_what_it_was_trained_with(model, spec, same_weights, tmp_path):
    first = build(dataclasses.replace(spec, mean=(0.25,) * 3, std=(0.5,) * 3, input_size=13, head="linear"), seed=2)
    save(first, tmp_path / "backbone", {})
    again = start(spec, str(tmp_path / "backbone" / "weights.safetensors"), seed=1)
    assert again.spec == dataclasses.replace(spec, mean=(0.25,) * 3, std=(0.5,) * 3, input_size=13)
    assert same_weights(again.backbone, first.backbone)


def test_artifact_of_images_that_were_not_resized_does_not_resize_unless_it_must(model, spec, tmp_path):
    save(build(dataclasses.replace(spec, mean=(0.5,) * 3, std=(0.5,) * 3), seed=2), tmp_path / "backbone", {})
    path = str(tmp_path / "backbone" / "weights.safetensors")
    for side, expected in ((8, 16), (16, 0), (40, 16 if model.own_input.fixed else 0)):
        assert start(dataclasses.replace(spec, image_shape=(side, side, 1)), path, seed=1).spec.input_size == expected


def test_built_in_network_starts_from_its_artifact(make_spec, same_weights, tmp_path):
    spec = make_spec(network="resnet32")
    first = build(dataclasses.replace(spec, mean=(0.25,), std=(0.5,), class_names=("a", "b")), seed=2)
    save(first, tmp_path / "backbone", {})
    again = start(spec, str(tmp_path / "backbone" / "weights.safetensors"), seed=1)
    assert again.spec == dataclasses.replace(spec, mean=(0.25,), std=(0.5,))
    assert same_weights(again.backbone, first.backbone)
    assert again.head.weight.shape == (10, 64)


def test_built_in_network_keeps_the_data_sets_normalisation_with_a_file_of_others(make_spec, tmp_path):
    spec = make_spec(network="resnet32")
    save_file(build(spec, seed=2).backbone.state_dict(), tmp_path / "weights.safetensors")
    assert start(spec, str(tmp_path / "weights.safetensors"), seed=1).spec == spec


def test_grey_images_fit_weights_for_colours_but_not_the_reverse(make_spec, tmp_path):
    colour = make_spec(mean=(0.25,) * 3, std=(0.5,) * 3, image_shape=(8, 8, 3))
    for name, spec in (("colour", colour), ("grey", make_spec())):
        save(build(spec, seed=2), tmp_path / name, {})
    classifier = start(make_spec(), str(tmp_path / "colour" / "weights.safetensors"), seed=1)
    assert classifier(classifier.preprocess(images(8, 8))).shape == (3, 10)
    with pytest.raises(InputError, match=r"small_cnn are of a network for grey images, the data set's have 3 channels"):
        start(colour, str(tmp_path / "grey" / "weights.safetensors"), seed=1)


def test_new_built_in_network_is_as_it_was(make_spec, same_weights):
    assert same_weights(start(make_spec(), "", seed=3), build(make_spec(), seed=3))


def test_misfit_names_file_and_network(make_spec, tmp_path):
    save(build(make_spec(network="resnet32"), seed=2), tmp_path / "backbone", {})
    path = tmp_path / "backbone" / "weights.safetensors"
    with pytest.raises(InputError, match=rf"weights={path} for resnet32_128 does not fit: it lacks branches.1"):
        start(make_spec(network="resnet32_128"), str(path), seed=1)


@pytest.mark.parametrize("network", ["small_cnn", "resnet32"])
def test_built_in_networks_have_no_published_weights(make_spec, network):
    with pytest.raises(InputError, match=rf"backbone.weights=published: {network} has no published weights; choose a"):
        start(make_spec(network=network), "published", seed=1)


def test_torchvisions_network_starts_from_its_weights_and_is_loaded_without_them(make_spec, monkeypatch, tmp_path):
    torch.manual_seed(4)
    weights = TorchvisionModel("squeezenet1_1").build().state_dict() | {"classifier.1.bias": torch.zeros(1000)}
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda url, **options: weights)
    classifier = start(make_spec(network=NETWORK), "published", seed=1)
    assert (classifier.spec.input_size, classifier.spec.mean, classifier.spec.std) == (224, *IMAGENET)
    monkeypatch.delattr(torch.hub, "load_state_dict_from_url")
    save(classifier, tmp_path / "backbone", {})
    loaded, _ = load(tmp_path / "backbone")
    x = loaded.preprocess(images(8, 8))
    assert x.shape == (3, 3, 224, 224)
    assert torch.equal(loaded(x), classifier.eval()(x))


@pytest.mark.parametrize(("network", "size", "expected"), [(NETWORK, 8, 224), (NETWORK, 32, 0), ("resnext50", 8, 0)])
def test_new_torchvision_networks_are_asked_what_they_read(make_spec, network, size, expected):
    model, spec = initialization.library_model(network), make_spec(network=network, image_shape=(size, size, 1))
    assert initialization._adapt(spec, model, None).input_size == expected
