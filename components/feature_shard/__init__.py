"""One part of the features."""
