"""Drift check."""
