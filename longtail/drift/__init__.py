"""Whether a data source is still what a champion was trained on: content, classes, counts, features."""
