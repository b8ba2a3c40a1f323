"""Feature extraction."""

from longtail.features.extraction import Features, extract

__all__ = ["Features", "extract"]
