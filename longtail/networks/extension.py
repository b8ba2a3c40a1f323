"""A trained network for a data set whose classes are no longer those it was trained on.

Rows of the head are matched by class name. Those of classes that vanished are dropped, those of new classes are set
from features, so that training starts with what the network knows and not from a random guess.

* Cosine head: the row is the mean direction of the class's features (weight imprinting, Qi et al. 2018, arXiv
  1712.07136), as long as the other rows are on average; a row's length does not change the logits but how fast
  training turns it. The bias is the mean of the others.
* Linear head: rows have the scale that training gave them, which no class mean has. The row and its bias are a
  least-squares fit with two targets: on the new class the mean logit that old classes have on their own images, on
  the old classes the mean logit that they have on others'. With two targets least squares finds the direction of
  Fisher's discriminant, and the targets set its scale.

The logits of old classes stay what they were. Not so in a `cosine_reference` head, where the rows of all classes are
normalised together: it cannot be extended.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from longtail.errors import InputError
from longtail.networks.classifier import ImageClassifier, NetworkSpec, build

NETWORK = "artifacts/network"
"""Where a registered model's folder keeps its network."""
_RIDGE = 1e-3
"""Added to the squared features' mean, as a share of it, so that few images have one solution."""


def misfit(champion: ImageClassifier, network: str, head: str, class_names: Sequence[str], channels: int) -> str:
    """Return why training cannot go on from a trained network; empty if it can.

    Args:
        champion: The trained network.
        network: Backbone that is asked for.
        head: Head that is asked for.
        class_names: Classes of the data set.
        channels: Channels of its images.
    """
    spec = champion.spec
    if (spec.network, spec.head) != (network, head):
        return f"it is a {spec.network} with a {spec.head} head, {network} with a {head} head is asked for"
    if channels > len(spec.mean):
        return f"it reads images of {len(spec.mean)} channel, these have {channels}"
    if champion.tukey != 1:
        return f"its head reads features to the power of {champion.tukey:g}"
    if head == "cosine_reference" and set(class_names) != set(spec.class_names):
        return "a cosine_reference head ties the rows of all classes together, and the classes changed"
    if not set(class_names) & set(spec.class_names):
        return "it knows none of these classes"
    return ""


@torch.no_grad()
def extended(
    champion: ImageClassifier, spec: NetworkSpec, examples: Callable[[], tuple[Tensor, Tensor]]
) -> ImageClassifier:
    """Return a copy of a trained network with a row of the head for each class of a data set.

    Args:
        champion: The trained network.
        spec: What is asked for; the normalisation and input size are the champion's all the same.
        examples: Returns features (N, D) of a few training images by the champion, and their classes (N,) in the order
            of `spec`: images of new classes, and for a linear head of old ones too. Not called if no class is new.

    Raises:
        InputError: If training cannot go on from this network.
    """
    reason = misfit(champion, spec.network, spec.head, spec.class_names, spec.image_shape[2])
    if reason:
        raise InputError(f"training cannot start from the registered model: {reason}; train without backbone.weights")
    own = champion.spec
    result = build(replace(own, image_shape=spec.image_shape, class_names=spec.class_names), seed=0)
    state = champion.state_dict()
    places = [own.class_names.index(name) if name in own.class_names else -1 for name in spec.class_names]
    kept = torch.tensor([place for place in places if place >= 0])
    weight, bias = (state[f"head.{name}"][kept] for name in ("weight", "bias"))
    rows, biases = weight.new_zeros(len(places), weight.shape[1]), bias.new_zeros(len(places))
    is_old = torch.tensor([place >= 0 for place in places])
    rows[is_old], biases[is_old] = weight, bias
    features, labels = (torch.empty(0), torch.empty(0)) if is_old.all() else examples()
    for label in torch.nonzero(~is_old).flatten().tolist():
        if spec.head == "linear":
            rows[label], biases[label] = _discriminant(champion, features, labels, label, torch.tensor(places)[labels])
        else:
            rows[label], biases[label] = _imprint(features[labels == label], weight), bias.mean()
    result.load_state_dict(state | {"head.weight": rows, "head.bias": biases})
    return result


def _imprint(features: Tensor, weight: Tensor) -> Tensor:
    """Return the mean direction of features (n, D), as long as rows (C, D) are on average."""
    direction = F.normalize(F.normalize(features, dim=1).mean(dim=0), dim=0)
    length: Tensor = weight.norm(dim=1).mean()
    return direction * length


def _discriminant(
    champion: ImageClassifier, features: Tensor, labels: Tensor, label: int, places: Tensor
) -> tuple[Tensor, Tensor]:
    """Return row and bias of a new class by least squares, both sides of equal weight.

    Args:
        champion: With a linear head.
        features: (N, D).
        labels: (N,).
        label: The new class.
        places: (N,) the champion's class of each image, −1 for new ones.
    """
    old = places >= 0
    logits = champion.classify(features[old]).double()
    is_own = F.one_hot(places[old], logits.shape[1]).bool()
    high, low = logits[is_own].mean(), logits[~is_own].mean()
    used = old | (labels == label)
    x = torch.cat((features[used].double(), torch.ones(int(used.sum()), 1, dtype=torch.float64)), dim=1)
    is_new = labels[used] == label
    weights = torch.where(is_new, 0.5 / is_new.sum(), 0.5 / (~is_new).sum())[:, None]
    gram = x.T @ (weights * x)
    ridge = _RIDGE * gram.diagonal()[:-1].mean() * torch.eye(len(gram), dtype=torch.float64)
    ridge[-1, -1] = 0
    solution = torch.linalg.solve(gram + ridge, x.T @ (weights * torch.where(is_new, high, low)[:, None])).flatten()
    return solution[:-1].float(), solution[-1].float()
