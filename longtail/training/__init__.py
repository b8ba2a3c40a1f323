"""Backbone training."""

from longtail.training.loop import predict, train

__all__ = ["predict", "train"]
