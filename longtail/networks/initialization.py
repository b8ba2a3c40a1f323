"""Where training starts: which weights a new classifier has, and which images its network then reads."""

import logging
from dataclasses import replace
from pathlib import Path

import torch

from longtail.errors import InputError
from longtail.networks.classifier import ImageClassifier, NetworkSpec, build
from longtail.networks.library import COLOURS, LibraryModel
from longtail.networks.registry import library_model
from longtail.networks.weights import Weights, load_backbone, read_weights

log = logging.getLogger(__name__)

PUBLISHED = "published"


def start(spec: NetworkSpec, weights: str, seed: int) -> ImageClassifier:
    """Return a classifier to be trained, and in its spec how it wants its images.

    With weights a network of a library gets images of its own size and normalisation. Without, images keep their size,
    unless the network cannot read it, and the data set's normalisation.

    Args:
        spec: What to build, with the data set's normalisation and no input size.
        weights: Nothing, `published`, or a file that `read_weights` reads. A file from one of our own artifacts brings
            the size and normalisation that it was trained with.
        seed: Of all weights that are not read.

    Raises:
        InputError: If there is no such network, its weights cannot be had or are of another network, or the network
            cannot read such images.
    """
    model = library_model(spec.network)
    found = _find(spec.network, model, weights)
    classifier = build(_adapt(spec, model, found), seed)
    if found is not None:
        load_backbone(classifier.backbone, found.tensors, f"backbone.weights={weights} for {spec.network}")
        log.info("%s starts from weights %s", spec.network, weights)
    return classifier


def _find(network: str, model: LibraryModel | None, weights: str) -> Weights | None:
    """Return the weights to start from; None for new ones."""
    if weights != PUBLISHED:
        return read_weights(Path(weights)) if weights else None
    if model is None:
        raise InputError(
            f"backbone.weights={PUBLISHED}: {network} has no published weights; choose a torchvision: or timm: "
            "network, or give a local file"
        )
    with torch.random.fork_rng(devices=[]):  # a library may draw weights before it reads them
        return Weights(model.published())


def _adapt(spec: NetworkSpec, model: LibraryModel | None, found: Weights | None) -> NetworkSpec:
    """Return the spec with the images that the network reads when it starts from these weights."""
    size, mean, std = spec.input_size, spec.mean, spec.std
    if found is not None and model is not None:
        own = model.own_input
        size, mean, std = own.size, own.mean, own.std
    if found is not None and found.mean:
        mean, std = found.mean, found.std
        size = size if found.input_size is None else found.input_size
    if model is not None and size == 0 and not _reads(model, *spec.image_shape[:2]):
        size = model.own_input.size
        log.info("%s reads images of %d pixels a side: images are resized", spec.network, size)
    if model is not None and len(mean) == 1:
        mean, std = mean * COLOURS, std * COLOURS
    if spec.image_shape[2] > len(mean):
        raise InputError(
            f"the weights for {spec.network} are of a network for grey images, the data set's have "
            f"{spec.image_shape[2]} channels: choose other backbone.weights"
        )
    return replace(spec, input_size=size, mean=mean, std=std)


def _reads(model: LibraryModel, height: int, width: int) -> bool:
    """Return whether a network can read images of this size; of its forward pass only shapes are computed."""
    own = model.own_input
    if own.fixed or height == width == own.size:
        return height == width == own.size
    with torch.random.fork_rng(devices=[]):  # not built on `meta`, as some networks compute their widths with tensors
        backbone = model.build().eval().to("meta")
    try:
        backbone(torch.empty(1, COLOURS, height, width, device="meta"))
    except (AssertionError, RuntimeError, ValueError):
        return False
    return True
