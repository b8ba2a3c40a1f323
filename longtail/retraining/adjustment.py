"""Changing a trained head without training it: logit adjustment and tau-normalisation."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from longtail.networks.heads import CosineHead


@torch.no_grad()
def adjust_logits(head: nn.Module, counts: NDArray[np.int64], tau: float) -> None:
    """Subtract tau times the log of each class's share of the training images from its logit, by way of the bias.

    This is the post-hoc correction of Menon et al. 2021, "Long-tail learning via logit adjustment", arXiv 2007.07314.
    It is for a head that saw every image equally often; one that saw the classes equally often has nothing to correct.

    Args:
        head: Changed in place.
        counts: (C,) training images of each class, all above zero.
        tau: Strength; 1 is consistent for the balanced error.
    """
    prior = torch.from_numpy(counts / counts.sum())
    bias: Tensor = head.bias  # type: ignore[assignment]
    bias -= (tau * prior.log()).to(bias)


@torch.no_grad()
def normalise_weights(head: nn.Module, tau: float) -> None:
    """Divide each class's weight vector by its norm to the power tau, and drop the bias.

    So do Kang et al. 2020, "Decoupling representation and classifier", arXiv 1910.09217, with linear heads. The
    class vectors of a cosine head have unit norm already, so it only loses its bias. Those of the reference's cosine
    head have norms of their own, but it normalises again over the classes, which undoes a part.

    Args:
        head: Changed in place.
        tau: 0 leaves the weights as they are, 1 gives all classes the same norm.
    """
    weight: Tensor = head.weight  # type: ignore[assignment]
    if isinstance(head, CosineHead):
        weight.copy_(F.normalize(weight, dim=head.weight_axis))
    norms = weight.norm(dim=1, keepdim=True)
    weight /= norms.clamp_min(torch.finfo(weight.dtype).tiny) ** tau
    head.bias.zero_()  # type: ignore[operator]
