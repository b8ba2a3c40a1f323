from http.client import IncompleteRead
from urllib.error import URLError

import pytest
import torch
import torchvision
from torchvision import models

from longtail.errors import InputError
from longtail.networks.torchvision_models import TorchvisionModel
from longtail.networks.weights import load_backbone

NAMES = models.list_models(module=models)
FAMILIES = [
    "alexnet",
    "convnext_tiny",
    "densenet121",
    "efficientnet_b0",
    "googlenet",
    "inception_v3",
    "maxvit_t",
    "mnasnet0_5",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "regnet_x_400mf",
    "resnet18",
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
    "swin_t",
    "swin_v2_t",
    "vgg11",
    "vit_b_32",
    "vit_h_14",
]
AUXILIARY = {"inception_v3": 3_326_696}
"""Parameters of an auxiliary classifier that torchvision counts; GoogLeNet's it does not count."""


def random_images(size, count=2):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def download(monkeypatch):
    """Return a function that sets what a download gives, or raises, and returns what was asked for."""

    def answer(result):
        asked = {}

        def load(url, **options):
            asked.update(url=url, **options)
            if isinstance(result, Exception):
                raise result
            return result

        monkeypatch.setattr(torch.hub, "load_state_dict_from_url", load)
        return asked

    return answer


def whole(name):
    """Return torchvision's own classifier without auxiliary ones, with weights from seed 0, in eval mode."""
    torch.manual_seed(0)
    return models.get_model(name, weights=None).eval()


def check_shapes(name):
    model = TorchvisionModel(name)
    size = model.own_input.size
    # RegNets compute their widths with tensors, so they cannot be built on `meta`.
    with torch.device("cpu" if name.startswith("regnet") else "meta"):
        backbone = model.build().eval().to("meta")
        assert backbone(torch.empty(2, 3, size, size, device="meta")).shape == (2, backbone.feature_size)
        options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        last = models.get_model(name, weights=None, **options).get_submodule(backbone.left_out[0].removesuffix("."))
    assert next(iter(last.parameters())).shape[:2] == (1000, backbone.feature_size)
    parameters = sum(value.numel() for module in (backbone, last) for value in module.parameters())
    assert parameters + AUXILIARY.get(name, 0) == model.weights.meta["num_params"]


@pytest.mark.parametrize("name", FAMILIES)
def test_only_the_last_layer_is_gone(name):
    check_shapes(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({*NAMES} - {*FAMILIES}))
def test_only_the_last_layer_is_gone_from_every_other_classifier(name):
    check_shapes(name)


@pytest.mark.parametrize("name", ["mnasnet0_5", "mobilenet_v3_small", "resnet18", "shufflenet_v2_x0_5"])
def test_last_layer_on_features_is_the_whole_classifier(name):
    expected, backbone = whole(name), TorchvisionModel(name).build().eval()
    load_backbone(backbone, expected.state_dict(), name)
    x = random_images(64)
    last = expected.get_submodule(backbone.left_out[0].removesuffix("."))
    torch.testing.assert_close(last(backbone(x)), expected(x))


def test_squeezenets_features_are_its_averaged_maps():
    expected, backbone = whole("squeezenet1_1"), TorchvisionModel("squeezenet1_1").build().eval()
    load_backbone(backbone, expected.state_dict(), "squeezenet1_1")
    x = random_images(64)
    torch.testing.assert_close(backbone(x), expected.features(x).mean(dim=(2, 3)))


def test_googlenets_published_weights_want_images_scaled_by_a_half():
    torch.manual_seed(0)
    expected = models.GoogLeNet(transform_input=True, init_weights=False).eval()  # as the builder of weights makes it
    expected.fc = torch.nn.Identity()
    model = TorchvisionModel("googlenet")
    backbone = model.build().eval()
    load_backbone(backbone, expected.state_dict(), "googlenet")  # with auxiliary classifiers, which are ignored
    x, own = random_images(64), model.own_input
    imagenet = models.ResNet18_Weights.DEFAULT.transforms()
    normalise = torchvision.transforms.functional.normalize
    actual = backbone(normalise(x, own.mean, own.std))
    torch.testing.assert_close(actual, expected(normalise(x, imagenet.mean, imagenet.std)), rtol=1e-3, atol=1e-5)


def test_own_input_is_that_of_the_published_weights():
    resnet, vit = TorchvisionModel("resnet18").own_input, TorchvisionModel("vit_h_14").own_input
    assert (resnet.size, resnet.fixed) == (224, False)
    assert (resnet.mean, resnet.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert (vit.size, vit.fixed) == (518, True)
    assert TorchvisionModel("efficientnet_v2_s").own_input.size == 384


def test_only_transformers_read_one_size_alone():
    fixed = {name.split("_")[0] for name in NAMES if TorchvisionModel(name).own_input.fixed}
    assert fixed == {"maxvit", "swin", "vit"}


def test_weights_carry_no_version_mark():
    backbone = TorchvisionModel("mnasnet0_5").build()
    state = dict(backbone.state_dict())  # torchvision's own class refuses it
    state["layers.1.weight"] = torch.full_like(state["layers.1.weight"], 0.25)
    backbone.load_state_dict(state)
    assert torch.equal(backbone.layers[1].weight, state["layers.1.weight"])


@pytest.mark.filterwarnings("ignore:.*which is a no-op")
def test_old_names_of_published_weights_are_read():
    with torch.device("meta"):
        backbone, dense = TorchvisionModel("vit_b_32").build(), TorchvisionModel("densenet121").build()
    old = {
        name.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2."): value
        for name, value in backbone.state_dict().items()
    }
    assert "encoder.layers.encoder_layer_0.mlp.linear_2.bias" in old
    load_backbone(backbone, old, "old")
    old = {
        name.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): value
        for name, value in dense.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    assert "features.denseblock1.denselayer1.conv.2.weight" in old
    load_backbone(dense, old, "old")


def test_published_weights_are_checked_and_cannot_carry_code(download):
    state = {"fc.bias": torch.zeros(1000)}
    asked = download(state)
    assert TorchvisionModel("resnet18").published() is state
    assert asked.pop("url") == models.ResNet18_Weights.DEFAULT.url
    assert asked == {"map_location": "cpu", "progress": False, "check_hash": True, "weights_only": True}


@pytest.mark.parametrize("error", [URLError("no network"), RuntimeError("invalid hash value"), IncompleteRead(b"")])
def test_download_that_fails_asks_for_a_file(download, error):
    download(error)
    with pytest.raises(InputError, match=r"resnet18-\w+\.pth cannot be downloaded .*set backbone.weights to a"):
        TorchvisionModel("resnet18").published()


def test_unknown_name_is_refused():
    with pytest.raises(InputError, match=r"'torchvision:resnet19'.*did you mean one of .*torchvision:resnet18"):
        TorchvisionModel("resnet19")
