"""Feature extraction."""
