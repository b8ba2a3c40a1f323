"""TailCalib: new features for the small classes, drawn from distributions borrowed from their nearest classes."""

from longtail.calibration.estimator import TailCalib
from longtail.calibration.statistics import ClassStatistics
from longtail.calibration.tukey import tukey_transform

__all__ = ["ClassStatistics", "TailCalib", "tukey_transform"]
