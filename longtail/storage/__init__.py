"""Artifacts and checkpoints in an S3 store, as if they were in a folder."""
