"""Calibrated sampling."""
