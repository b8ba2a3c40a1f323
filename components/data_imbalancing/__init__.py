"""Data imbalancing."""
