"""Longtail: train image classifiers on long-tailed data, calibrate their tail, measure their curvature."""
