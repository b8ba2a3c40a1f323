"""Step 2: train the network on the imbalanced images."""

import os
from typing import Any

from longtail.artifacts import sha256_json
from longtail.config import BackboneConfig, to_dict
from longtail.data.dataset import Dataset
from longtail.networks import NetworkSpec, build, save
from longtail.pages import Details, Plot, Section, html_report
from longtail.steps.execution import Context, home_folder
from longtail.training import distributed, train
from longtail.training.figures import history_figure


def run(config: BackboneConfig, context: Context) -> dict[str, dict[str, Any]]:
    """Return metadata of the `backbone` artifact that it writes: the network with the head it was trained with."""
    dataset = Dataset.open(context.inputs["dataset"])
    spec = NetworkSpec(
        network=config.network,
        head=config.head,
        image_shape=dataset.image_shape,
        class_names=dataset.class_names,
        mean=tuple(dataset.mean),
        std=tuple(dataset.std),
        scale=config.scale,
    )
    classifier = build(spec, context.seed)
    key = sha256_json([to_dict(config), dataset.digest, context.seed, os.environ.get("LONGTAIL_CODE", "")])
    history = train(
        classifier,
        dataset.split("train"),
        dataset.split("validation") if dataset.has_split("validation") else None,
        config,
        seed=context.seed,
        checkpoint=home_folder("checkpoints") / f"{key[:32]}.safetensors",
        on_epoch=context.on_epoch(config.epochs),
    )
    if distributed.rank() != 0:
        return {}
    fields = {"dataset_digest": dataset.digest, "augmentation": config.augmentation, "history": history}
    save(classifier.cpu(), context.outputs["backbone"], fields)
    figure = history_figure(history)
    context.run.log_figure(figure, "training.png")
    curves = Plot(figure, "Loss and accuracy by epoch")
    page = html_report(
        f"Backbone: {config.network}",
        [Section("Training", [curves]), Section("Settings", [Details("backbone", to_dict(config))])],
    )
    context.outputs["report"].write_text(page, encoding="utf-8")
    return {"backbone": {"epochs": config.epochs, "train_loss": history[-1]["train/loss"]}}
