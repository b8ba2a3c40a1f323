"""Step 2: train the network on the imbalanced images."""

import dataclasses
import os
import tempfile
from pathlib import Path
from typing import Any

from longtail.artifacts import file_digest, sha256_json
from longtail.config import BackboneConfig, DataConfig, parse, to_dict
from longtail.data.dataset import Dataset, build_dataset
from longtail.errors import InputError
from longtail.hessian.training_figures import curves_figure, layers_figure
from longtail.networks import ImageClassifier, NetworkSpec, load, save, start
from longtail.pages import Details, Plot, Section, Text, html_report
from longtail.processes.launch import launch
from longtail.steps.champion_weights import going_on
from longtail.steps.checkpoints import checkpoint_file, checkpoint_mirror
from longtail.steps.execution import Context, child_seed
from longtail.training import distributed, epoch_count, teacher_recipe, train
from longtail.training.figures import history_figure
from longtail.training.observation import CurvatureObserver


def run(config: BackboneConfig, context: Context) -> dict[str, dict[str, Any]]:
    """Return metadata of the `backbone` artifact that it writes: the network with the head it was trained with."""
    dataset = Dataset.open(context.inputs["dataset"])
    _check_shares(config, dataset)
    if config.processes > 1 and not distributed.is_launched():
        launch(config, context, _key(config, dataset, context.seed))
        return _described(load(context.outputs["backbone"])[1]["history"])
    teacher = _teacher(config, dataset, context) if config.distillation.weight else None
    observer = CurvatureObserver(config.curvature, dataset.split("train")) if config.curvature.every else None
    classifier, history = _trained(config, dataset, context, context.seed, teacher, observer=observer)
    if distributed.rank() != 0:
        return {}
    fields = {"dataset_digest": dataset.digest, "augmentation": config.augmentation, "history": history}
    save(classifier.cpu(), context.outputs["backbone"], fields)
    figure = history_figure(history)
    context.run.log_figure(figure, "training.png")
    sections = [Section("Training", [Plot(figure, "Loss and accuracy by epoch")])]
    if observer is not None:
        sections.append(_curvature_section(observer, context))
    sections.append(Section("Settings", [Details("backbone", to_dict(config))]))
    page = html_report(f"Backbone: {config.network}", sections)
    context.outputs["report"].write_text(page, encoding="utf-8")
    return _described(history)


def _described(history: list[dict[str, float]]) -> dict[str, dict[str, Any]]:
    return {"backbone": {"epochs": len(history), "train_loss": history[-1]["train/loss"]}}


def _check_shares(config: BackboneConfig, dataset: Dataset) -> None:
    """Raise `InputError` unless every process gets as many images of a step."""
    images = min(config.batch_size, len(dataset.split("train")))
    if images % config.processes:
        raise InputError(f"backbone.processes is {config.processes}: give a divisor of the {images} images of a step")


def _key(config: BackboneConfig, dataset: Dataset, seed: int) -> str:
    """Return the digest of all that a training depends on; who does the work is no part of it."""
    settings = {name: value for name, value in to_dict(config).items() if name not in ("processes", "launcher")}
    code = os.environ.get("LONGTAIL_CODE", "")
    return sha256_json([settings, dataset.digest, seed, file_digest(config.weights), code])


def _curvature_section(observer: CurvatureObserver, context: Context) -> Section:
    """Return the page's part on curvature over the epochs, after logging its figures."""
    curves, layers = curves_figure(observer.snapshots), layers_figure(observer.snapshots)
    context.run.log_figure(curves, "curvature_by_epoch.png")
    context.run.log_figure(layers, "curvature_by_layer_and_epoch.png")
    summary = (
        f"Hessian of the cross-entropy on {len(observer.labels)} training images, at most "
        f"{observer.config.images_per_class} of a class, the same every time, not augmented, in eval mode."
    )
    alternatives = ("Trace, top eigenvalue and loss by epoch", "Trace and top eigenvalue of each layer by epoch")
    plots = [Plot(figure, text) for figure, text in zip((curves, layers), alternatives, strict=True)]
    return Section("Curvature", [Text(summary), *plots])


def _teacher(config: BackboneConfig, dataset: Dataset, context: Context) -> ImageClassifier:
    """Return the trained teacher; its checkpoint is the one that a run of its seed would write for itself."""
    seed = config.distillation.teacher_seed or 10 * context.pipeline_seed or 10  # never that of student 0 itself
    recipe, own = teacher_recipe(config), child_seed(seed, "backbone_training")
    if config.distillation.teacher_subset == "same":
        return _trained(recipe, dataset, context, own, prefix="teacher/")[0]
    origin = dataclasses.replace(parse(DataConfig, dataset.fields["origin"], "origin"), seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        build_dataset(origin, Path(folder) / "dataset")
        return _trained(recipe, Dataset.open(Path(folder) / "dataset"), context, own, prefix="teacher/")[0]


def _trained(
    config: BackboneConfig,
    dataset: Dataset,
    context: Context,
    seed: int,
    teacher: ImageClassifier | None = None,
    prefix: str = "",
    observer: CurvatureObserver | None = None,
) -> tuple[ImageClassifier, list[dict[str, float]]]:
    """Return a classifier after training it, or going on from its checkpoint, and its history."""
    spec = NetworkSpec(
        network=config.network,
        head=config.head,
        image_shape=dataset.image_shape,
        class_names=dataset.class_names,
        mean=tuple(dataset.mean),
        std=tuple(dataset.std),
        scale=config.scale,
    )
    training = dataset.split("train")
    classifier = going_on(spec, config.weights, training) or start(spec, config.weights, seed)
    key = _key(config, dataset, seed)
    history = train(
        classifier,
        training,
        dataset.split("validation") if dataset.has_split("validation") else None,
        config,
        seed=seed,
        teacher=teacher,
        checkpoint=checkpoint_file(key),
        mirror=checkpoint_mirror(key),
        on_resume=lambda place: context.run.set_tags({f"{prefix}resumed_from": place}),
        on_epoch=context.on_epoch(epoch_count(config, len(training)), prefix),
        observer=observer,
    )
    context.run.log_metrics({f"{prefix}train/total_seconds": sum(epoch["train/seconds"] for epoch in history)})
    return classifier, history
