"""Classifier retraining on frozen features."""

from longtail.retraining.images import TrainingImages
from longtail.retraining.methods import METHODS, retrain

__all__ = ["METHODS", "TrainingImages", "retrain"]
