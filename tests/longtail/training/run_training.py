"""A training run in a process of its own; `start` in conftest.py runs this file and gives the names in capitals."""

import os

import torch

from longtail.config import BackboneConfig, parse
from longtail.data.dataset import Dataset
from longtail.networks import NetworkSpec, build, save
from longtail.training import distributed, train

torch.set_num_threads(1)
given = globals()
os.environ.update(given["ENVIRONMENT"])
dataset, config, folder = Dataset.open(given["DATASET"]), parse(BackboneConfig, given["SETTINGS"]), given["FOLDER"]
shape, class_names, mean, std = dataset.image_shape, dataset.class_names, dataset.mean, dataset.std
classifier = build(NetworkSpec(config.network, config.head, shape, class_names, mean, std), seed=1)
history = train(
    classifier,
    dataset.split("train"),
    dataset.split("validation"),
    config,
    seed=1,
    checkpoint=folder / "run.safetensors",
    on_epoch=lambda epoch, _: given["EPOCHS"].send(epoch),
)
if distributed.rank() == 0:
    save(classifier, folder / "network", {"history": history})
