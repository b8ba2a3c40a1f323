import sys
import types

import pytest
import torch
from torch import nn

from longtail.errors import InputError
from longtail.networks.registry import build_backbone, library_model
from longtail.networks.timm_models import TimmModel


class Network(nn.Module):
    """What timm's `create_model` returns for `num_classes=0`, as far as it is used."""

    num_features, head_hidden_size = 4, 6

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 1)

    def forward(self, x):
        return self.stem(x).mean(dim=(2, 3))


@pytest.fixture
def timm(monkeypatch):
    """A library with timm's few functions that are used, and two networks."""
    library = types.ModuleType("timm")
    published = types.SimpleNamespace(
        input_size=(3, 40, 40), fixed_input_size=False, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2), classifier="head.fc"
    )
    library.calls = []

    def create_model(name, **options):
        library.calls.append((name, options))
        if options["pretrained"] and library.error is not None:
            raise library.error
        return Network()

    library.error = None
    library.published = published
    library.list_models = lambda: ["tiny_net", "vit_tiny"]
    library.list_pretrained = lambda: ["tiny_net.a1_in1k"]
    library.get_pretrained_cfg = lambda name: published
    library.create_model = create_model
    monkeypatch.setitem(sys.modules, "timm", library)
    return library


def test_backbone_is_made_without_classifier_or_download(timm):
    backbone = build_backbone("timm:tiny_net", 3)
    assert timm.calls == [("tiny_net", {"pretrained": False, "num_classes": 0})]
    assert backbone(torch.zeros(2, 3, 8, 8)).shape == (2, backbone.feature_size) == (2, 6)
    assert backbone.left_out == ("head.fc.",)


@pytest.mark.parametrize(
    ("classifier", "left_out"), [(None, ()), ("fc", ("fc.",)), (("head", "head_dist"), ("head.", "head_dist."))]
)
def test_every_classifier_is_left_out(timm, classifier, left_out):
    timm.published.classifier = classifier
    assert TimmModel("tiny_net").build().left_out == left_out


def test_own_input_is_that_of_the_published_weights(timm):
    own = TimmModel("tiny_net").own_input
    assert (own.size, own.fixed, own.mean, own.std) == (40, False, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2))


def test_published_weights_are_timms(timm):
    assert TimmModel("tiny_net.a1_in1k").published().keys() == Network().state_dict().keys()
    assert timm.calls == [("tiny_net.a1_in1k", {"pretrained": True, "num_classes": 0})]


@pytest.mark.parametrize("error", [OSError("offline\nmore"), RuntimeError("No weights exist"), ValueError("x")])
def test_download_that_fails_asks_for_a_file(timm, error):
    timm.error = error
    with pytest.raises(InputError, match=r"timm:tiny_net cannot .* weights \([^\n]+\): set backbone.weights to"):
        TimmModel("tiny_net").published()


@pytest.mark.parametrize(
    ("name", "near"), [("tiny_nut", r"timm:tiny_net\b"), ("tiny_net.a2_in1k", r"timm:tiny_net.a1_in1k$")]
)
def test_unknown_name_is_refused(timm, name, near):
    with pytest.raises(InputError, match=rf"'timm:{name}', which is not known: did you mean one of {near}"):
        TimmModel(name)


def test_oblong_images_are_refused(timm):
    timm.published.input_size = (3, 1024, 768)
    with pytest.raises(InputError, match=r"timm:tiny_net reads images of 1024x768 pixels: choose"):
        TimmModel("tiny_net")


def test_without_timm_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(InputError, match=r"network=timm:resnet18 needs timm, .* pip install 'longtail\[timm\]'"):
        library_model("timm:resnet18")


@pytest.mark.parametrize(
    ("name", "size"), [("resnet18", 512), ("mobilenetv3_small_100", 1024), ("vit_tiny_patch16_224", 192)]
)
def test_real_timm(name, size):
    pytest.importorskip("timm")
    model = TimmModel(name)
    with torch.device("meta"):
        backbone = model.build().eval()
        assert backbone(torch.empty(2, 3, 224, 224)).shape == (2, backbone.feature_size) == (2, size)
    assert model.own_input.fixed == name.startswith("vit")
