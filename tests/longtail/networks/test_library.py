import pytest

from longtail.networks.library import unknown

KNOWN = ["resnet18", "resnet34", "vgg11"]


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("torchvision:resnet8", "did you mean one of torchvision:resnet18, torchvision:resnet34"),
        ("timm:zzz", "choose from timm:resnet18, timm:resnet34, timm:vgg11"),
        ("zzz", "choose from resnet18, resnet34, vgg11"),
    ],
)
def test_error_names_what_is_near_or_all(network, message):
    assert str(unknown(network, KNOWN)) == f"backbone.network is {network!r}, which is not known: {message}"
