"""Class-balanced distillation (CBD): a student that keeps the direction of a teacher's features."""

import dataclasses

import torch
from torch import Tensor
from torch.nn import functional as F

from longtail.config import BackboneConfig, CurvatureConfig, DistillationConfig, LossConfig, TracePenaltyConfig
from longtail.networks import ImageClassifier


def teacher_recipe(config: BackboneConfig) -> BackboneConfig:
    """Return the recipe that the teacher of a student's recipe is trained with: plain, on all images equally often."""
    return dataclasses.replace(
        config,
        loss=LossConfig(),
        distillation=DistillationConfig(),
        trace_penalty=TracePenaltyConfig(),
        curvature=CurvatureConfig(),
    )


class Distillation:
    """(1 - α) · L_class + α · β · mean(1 - cos(z, z_teacher)) (Iscen et al. 2021, arXiv 2104.05279, eq. 4).

    Networks are of one kind, so that features need no projection.

    Args:
        teacher: Trained; its weights stay as they are.
        config: α is `weight`, β is `scale`.
    """

    def __init__(self, teacher: ImageClassifier, config: DistillationConfig) -> None:
        self.teacher, self.config = teacher, config
        teacher.requires_grad_(False)
        teacher.train(config.teacher_batch_norm == "train")

    def __call__(self, loss: Tensor, features: Tensor, images: Tensor) -> Tensor:
        """Return the student's whole loss.

        Args:
            loss: Classification loss.
            features: (N, D) the student's features.
            images: (N, C, H, W) normalised, the ones the student saw.
        """
        with torch.no_grad():
            target = self.teacher.features(images)
        distance = 1 - F.cosine_similarity(features.float(), target.float(), dim=1).mean()
        return (1 - self.config.weight) * loss + self.config.weight * self.config.scale * distance
