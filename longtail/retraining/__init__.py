"""Classifier retraining on frozen features."""

from longtail.retraining.methods import METHODS, retrain

__all__ = ["METHODS", "retrain"]
