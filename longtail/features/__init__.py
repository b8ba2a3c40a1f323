"""Feature extraction."""

from longtail.features.extraction import Features, extract, write_view
from longtail.features.merge import merge_shards
from longtail.features.own import features_to_test, has_own, is_changed, write_own

__all__ = [
    "Features",
    "extract",
    "features_to_test",
    "has_own",
    "is_changed",
    "merge_shards",
    "write_own",
    "write_view",
]
