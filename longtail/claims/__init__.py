"""The findings of arXiv 2012.03801, put to the test on networks of this machine's size."""

from longtail.claims.rules import CLAIMS, Finding

__all__ = ["CLAIMS", "Finding"]
