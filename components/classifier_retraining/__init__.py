"""Classifier retraining."""
