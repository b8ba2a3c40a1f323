import os
import pickle

import pytest
import torch
from safetensors.torch import save_file

from longtail.errors import InputError
from longtail.networks import build, save
from longtail.networks.registry import build_backbone
from longtail.networks.weights import load_backbone, read_weights


@pytest.fixture
def tensors():
    torch.manual_seed(0)
    return dict(build_backbone("small_cnn", 1).state_dict())


class Code:
    def __reduce__(self):
        return os.getenv, ("HOME",)


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
@pytest.mark.parametrize("suffix", ["pth", "pt"])
def test_state_dict_is_read_wherever_a_training_script_puts_it(tensors, tmp_path, suffix, wrapper):
    path = tmp_path / f"weights.{suffix}"
    torch.save({wrapper: tensors, "epoch": 3} if wrapper else tensors, path)
    found = read_weights(path)
    assert same(found.tensors, tensors)
    assert (found.mean, found.std, found.input_size) == ((), (), None)


def test_safetensors_are_read(tensors, tmp_path):
    save_file(tensors, tmp_path / "weights.safetensors")
    assert same(read_weights(tmp_path / "weights.safetensors").tensors, tensors)


def test_file_of_our_own_artifact_tells_which_images_it_is_for(make_spec, tmp_path):
    classifier = build(make_spec(network="resnet32", mean=(0.25, 0.5, 0.75), std=(0.5, 0.5, 0.125), input_size=16), 1)
    save(classifier, tmp_path / "backbone", {})
    found = read_weights(tmp_path / "backbone" / "weights.safetensors")
    assert (found.mean, found.std, found.input_size) == ((0.25, 0.5, 0.75), (0.5, 0.5, 0.125), 16)
    assert same(found.tensors, classifier.backbone.state_dict())


def test_file_of_an_older_artifact_has_no_size(make_spec, tmp_path):
    classifier = build(make_spec(mean=(0.25,), std=(0.5,)), 1)
    save_file(classifier.state_dict(), tmp_path / "weights.safetensors")
    found = read_weights(tmp_path / "weights.safetensors")
    assert (found.mean, found.std, found.input_size) == ((0.25,), (0.5,), None)


def test_code_is_refused_and_not_run(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"conv1.weight": Code()}, path)
    with pytest.raises(InputError, match=r"pth is not read, as it is damaged or holds code \(UnpicklingError\)"):
        read_weights(path)
    path.write_bytes(pickle.dumps({"conv1.weight": Code()}, protocol=2))
    with pytest.raises(InputError, match=r"save the network's state_dict\(\) alone"):
        read_weights(path)


def test_whole_module_is_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "weights.pth")
    with pytest.raises(InputError, match=r"damaged or holds code"):
        read_weights(tmp_path / "weights.pth")


@pytest.mark.parametrize("value", [{}, {"epoch": 3}, [torch.zeros(2)], {"a": torch.zeros(2), "epoch": 3}])
def test_anything_but_named_tensors_is_refused(tmp_path, value):
    torch.save(value, tmp_path / "weights.pth")
    with pytest.raises(InputError, match=r"weights.pth holds more than named tensors"):
        read_weights(tmp_path / "weights.pth")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.pth", None, r"none.pth is not a file: give 'published' or"),
        ("weights.bin", b"", r"ends in '.bin': give a .safetensors or .pth file"),
        ("weights.safetensors", b"abc", r"is no whole .safetensors file"),
        ("weights.pth", b"", r"damaged or holds code"),
        ("weights.pth", b"abc", r"damaged or holds code"),
    ],
)
def test_what_is_no_file_of_weights_is_refused(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_weights(tmp_path / name)


def test_truncated_file_is_refused(tensors, tmp_path):
    for name, write in (("weights.safetensors", save_file), ("weights.pth", torch.save)):
        path = tmp_path / name
        write(tensors, path)
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(InputError, match=name):
            read_weights(path)


def test_backbone_gets_every_weight_of_a_file(tensors):
    torch.manual_seed(1)
    backbone = build_backbone("small_cnn", 1)
    load_backbone(backbone, tensors, "file")
    assert same(dict(backbone.state_dict()), tensors)


def test_classifier_of_a_whole_model_is_ignored(tensors):
    backbone = build_backbone("small_cnn", 1)
    backbone.left_out = ("fc.",)
    load_backbone(backbone, tensors | {"fc.weight": torch.zeros(3, 64)}, "file")
    assert same(dict(backbone.state_dict()), tensors)


def test_missing_and_foreign_weights_are_named(tensors):
    backbone = build_backbone("small_cnn", 1)
    renamed = {name.replace("conv2", "conv9"): value for name, value in tensors.items()}
    with pytest.raises(
        InputError,
        match=r"^file does not fit: it lacks conv2.weight; it has conv9.weight, which the network has not",
    ):
        load_backbone(backbone, renamed, "file")
    with pytest.raises(InputError, match=r"it lacks conv1.weight, bn1.weight, bn1.bias and \d+ more: choose"):
        load_backbone(backbone, {"conv3.weight": tensors["conv3.weight"]}, "file")
    with pytest.raises(InputError, match=r"does not fit: it has extra, which the network has not"):
        load_backbone(backbone, tensors | {"extra": torch.zeros(1)}, "file")


def test_wrong_shapes_are_named(tensors):
    with pytest.raises(InputError, match=r"it has conv1.weight of shape \[16, 1, 3, 3\] instead of \[16, 3, 3, 3\]"):
        load_backbone(build_backbone("small_cnn", 3), tensors, "file")
