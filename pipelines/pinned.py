"""Settings that say the same tomorrow, so that what is cached by them is right."""

from dataclasses import replace

from longtail.config import PipelineConfig


def pinned(config: PipelineConfig) -> PipelineConfig:
    """Return settings whose `backbone.weights`, if they are a registered model's by an alias, name its version.

    Raises:
        InputError: If there is no such model or alias, or the tracking server cannot be used.
    """
    weights = config.backbone.weights
    if not weights.startswith("models:/") or "@" not in weights:
        return config
    from longtail.tracking.loading import resolve

    return replace(config, backbone=replace(config.backbone, weights=resolve(weights).uri))
