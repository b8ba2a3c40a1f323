"""Merge of the generated features."""
