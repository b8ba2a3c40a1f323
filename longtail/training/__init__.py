"""Backbone training."""

from longtail.training.distillation import teacher_recipe
from longtail.training.loop import epoch_count, train
from longtail.training.prediction import predict

__all__ = ["epoch_count", "predict", "teacher_recipe", "train"]
