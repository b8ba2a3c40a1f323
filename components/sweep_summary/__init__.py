"""Sweep summary."""
