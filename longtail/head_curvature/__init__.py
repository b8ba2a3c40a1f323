"""Curvature of a retrained classifier's last layer, by class group: measured, reported, drawn."""
