"""Step 2 from features: train a first head on them, the baseline."""

import math
from typing import Any

import torch
from torch import Tensor

from longtail.config import HeadConfig, RetrainingConfig
from longtail.errors import InputError
from longtail.features import Features
from longtail.networks import ImageClassifier, NetworkSpec, build, save
from longtail.networks.identity import IDENTITY
from longtail.retraining.head import FeatureSet, fit_head
from longtail.steps.execution import Context


def run(config: HeadConfig, context: Context) -> dict[str, dict[str, Any]]:
    """Return metadata of the `backbone` artifact that it writes: the network `identity` with its trained head."""
    features = Features.open(context.inputs["features"])
    classifier = _untrained(config, features, context.seed)
    history = _fit(classifier.head, config, features, context)
    fields = {"dataset_digest": features.dataset_digest, "augmentation": "none", "history": history}
    save(classifier, context.outputs["backbone"], fields)
    return {"backbone": {"epochs": len(history), "train_loss": history[-1]["head/loss"]}}


def _untrained(config: HeadConfig, features: Features, seed: int) -> ImageClassifier:
    """Return the network, which scales raw rows as the table's features were scaled."""
    size, scaling = features.train().shape[1], features.scaling()
    spec = NetworkSpec(
        network=IDENTITY,
        head=config.kind,
        image_shape=(1, 1, size),
        class_names=features.class_names,
        mean=(0.0,) * size,
        std=(1.0,) * size,
        scale=config.scale,
    )
    classifier = build(spec, seed)
    if scaling is not None:
        shift, deviation = torch.from_numpy(scaling)
        classifier.backbone.load_state_dict({"shift": shift, "deviation": deviation})
    return classifier


def _fit(head: torch.nn.Module, config: HeadConfig, features: Features, context: Context) -> list[dict[str, float]]:
    """Return loss and accuracy by epoch, after training the head in place."""
    real, history, show = FeatureSet.real_only(features, 0), [], context.on_epoch(config.epochs)
    passes = max(1, math.ceil(config.minimum_steps * config.batch_size / (config.epochs * len(real))))
    recipe = RetrainingConfig(
        epochs=config.epochs,
        batch_size=config.batch_size,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
    )

    def epoch_set(_epoch: int, generator: torch.Generator) -> tuple[FeatureSet, Tensor]:
        return real, torch.cat([torch.randperm(len(real), generator=generator) for _ in range(passes)])

    def on_epoch(epoch: int, metrics: dict[str, float]) -> None:
        if not math.isfinite(metrics["head/loss"]):
            raise InputError(
                f"the head's loss is {metrics['head/loss']} in epoch {epoch}: set table.scaling=standard or "
                "head.kind=cosine, or lower head.learning_rate"
            )
        history.append(metrics)
        show(epoch, metrics)

    fit_head(
        head,
        epoch_set,
        recipe,
        peak=config.learning_rate,
        schedule=config.schedule,
        seed=context.seed,
        on_epoch=on_epoch,
    )
    return history
