"""Backbone training."""
