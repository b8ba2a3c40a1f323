"""A model's classes for many images or rows of features, from disk or a store to one Parquet file."""

from longtail.prediction.network import Predictor
from longtail.prediction.run import Options, Summary, predict

__all__ = ["Options", "Predictor", "Summary", "predict"]
