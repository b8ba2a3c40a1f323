"""SGD over a classifier's parameters, with the groups that recipes treat differently."""

import torch

from longtail.config import BackboneConfig
from longtail.networks import ImageClassifier
from longtail.training.schedule import learning_rate


def make_optimizer(classifier: ImageClassifier, config: BackboneConfig) -> torch.optim.SGD:
    """Return SGD over the parameters that are trained; those of a frozen backbone are in no group."""
    classifier.backbone.requires_grad_(config.trainable == "all")
    groups = []
    for part in (classifier.backbone, classifier.head):
        trained = [parameter for parameter in part.parameters() if parameter.requires_grad]
        decayed = [parameter for parameter in trained if config.weight_decay_on == "all" or parameter.ndim > 1]
        spared = [parameter for parameter in trained if config.weight_decay_on != "all" and parameter.ndim <= 1]
        schedule = config.schedule if part is classifier.backbone or config.head_schedule == "same" else "constant"
        for parameters, decay in ((decayed, config.weight_decay), (spared, 0.0)):
            if parameters:
                groups.append({"params": parameters, "weight_decay": decay, "schedule": schedule})
    return torch.optim.SGD(
        groups,
        lr=config.learning_rate,
        momentum=config.momentum,
        nesterov=config.nesterov and config.momentum > 0,  # without momentum it is the same, and PyTorch refuses it
    )


def set_rates(
    optimizer: torch.optim.Optimizer, config: BackboneConfig, progress: float, epoch_progress: float
) -> float:
    """Return the backbone's learning rate, or the head's if only that is trained, after setting every group's.

    Args:
        optimizer: From `make_optimizer`.
        config: The recipe.
        progress: Share of all steps that are done, in [0, 1).
        epoch_progress: Share of the epochs that are done when this one ends; `cosine_epochs` goes by it.
    """
    for group in optimizer.param_groups:
        by_epoch = group["schedule"] == "cosine_epochs"
        schedule, done = ("cosine", epoch_progress) if by_epoch else (group["schedule"], progress)
        group["lr"] = learning_rate(schedule, config.learning_rate, done, config.warmup)
    return float(optimizer.param_groups[0]["lr"])


def set_mode(classifier: ImageClassifier, config: BackboneConfig) -> None:
    """Put a classifier in train mode; a frozen backbone stays as it is evaluated, its averages included."""
    classifier.train()
    if config.trainable == "head":
        classifier.backbone.eval()
