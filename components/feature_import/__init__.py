"""Feature import."""
