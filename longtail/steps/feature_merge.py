"""Step 3, merged: put the parts of the features together, as one task would have written them."""

from typing import Any

from longtail.config import FeaturesConfig
from longtail.features import merge_shards
from longtail.steps.execution import Context


def run(config: FeaturesConfig, context: Context) -> dict[str, dict[str, Any]]:
    """Return metadata of the `features` artifact that it writes."""
    merge_shards(context.inputs["feature_shards"], context.outputs["features"])
    return {"features": {"views": config.views}}
