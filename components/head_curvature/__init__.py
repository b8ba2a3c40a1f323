"""Curvature of the retrained heads."""
