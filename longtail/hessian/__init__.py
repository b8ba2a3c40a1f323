"""Curvature of a network's loss, for the whole network and layer by layer."""

from longtail.hessian.analysis import analyze
from longtail.hessian.report import Density, LayerReport, Report

__all__ = ["Density", "LayerReport", "Report", "analyze"]
