"""A training run in a process of its own; `start` in conftest.py runs this file and gives the names in capitals."""

import os
from pathlib import Path

import torch

from longtail.config import BackboneConfig, parse
from longtail.data.dataset import Dataset
from longtail.networks import NetworkSpec, build, save
from longtail.training import distributed, train

torch.set_num_threads(1)
os.environ.update(ENVIRONMENT)  # noqa: F821
dataset, config, folder = Dataset.open(Path(DATASET)), parse(BackboneConfig, SETTINGS), Path(FOLDER)  # noqa: F821
shape, class_names, mean, std = dataset.image_shape, dataset.class_names, dataset.mean, dataset.std
classifier = build(NetworkSpec(config.network, config.head, shape, class_names, mean, std), seed=1)
history = train(
    classifier,
    dataset.split("train"),
    dataset.split("validation"),
    config,
    seed=1,
    checkpoint=folder / "run.safetensors",
    on_epoch=lambda epoch, _: EPOCHS.send(epoch),  # noqa: F821
)
if distributed.rank() == 0:
    save(classifier, folder / "network", {"history": history})
