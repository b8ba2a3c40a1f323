"""The classifiers of one run, from one set of features, side by side."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from longtail.artifacts import open_artifact
from longtail.errors import InputError
from longtail.networks.classifier import SCHEMA, SCHEMA_VERSION, ImageClassifier, load


def load_retrained(
    paths: Sequence[Path], features_digest: str
) -> Iterator[tuple[Path, ImageClassifier, dict[str, Any]]]:
    """Load the classifiers one after another, so that one is in memory at a time; all are checked before the first.

    Args:
        paths: Artifacts of classifier retraining.
        features_digest: SHA-256 of the features that all of them must come from.

    Yields:
        Path, classifier and manifest of each method.

    Raises:
        InputError: If one is not whole or comes from other features, or two are of one method.
    """
    methods = set()
    for path in paths:
        manifest = open_artifact(path, SCHEMA, SCHEMA_VERSION)
        if manifest.get("features_digest") != features_digest:  # a backbone has none
            raise InputError(f"{path} was retrained on other features: give classifiers of the same run")
        if manifest["method"] in methods:
            raise InputError(f"{path} is a second {manifest['method']!r}: give one classifier of each method")
        methods.add(manifest["method"])
    for path in paths:
        yield path, *load(path)
