"""Step 3: freeze the backbone and turn every split into features."""

from typing import Any

from longtail.config import FeaturesConfig
from longtail.data.dataset import Dataset
from longtail.features import extract
from longtail.networks import load
from longtail.shards import WHOLE, Shard
from longtail.steps.execution import Context


def run(config: FeaturesConfig, context: Context, shard: Shard = WHOLE) -> dict[str, dict[str, Any]]:
    """Return metadata of the `features` artifact that it writes."""
    classifier, manifest = load(context.inputs["backbone"])
    dataset = Dataset.open(context.inputs["dataset"])
    extract(
        classifier,
        dataset,
        config,
        manifest["augmentation"],
        context.outputs["features"],
        seed=context.seed,
        progress=context.progress("images"),
        shard=shard,
    )
    return {"features": {"views": config.views}}
