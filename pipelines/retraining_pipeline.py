"""A scheduled run that first asks whether there is a reason for it: a check, and below a condition the method."""

from dataclasses import replace
from typing import Any

from kfp import dsl

from components.drift_check.component import drift_check
from longtail.config import PipelineConfig, to_dict
from longtail.config.drift_check import DriftCheckConfig
from pipelines.compiled import Documents, arguments, built, compiled
from pipelines.longtail_pipeline import longtail_pipeline
from pipelines.policy import POLICY, apply
from pipelines.policy_file import Installation, RunPolicy


def retraining_pipeline(
    config: PipelineConfig,
    *,
    cooldown: int,
    from_scratch: bool,
    installation: Installation | None = None,
    method: Any = None,
) -> Any:
    """Return the pipeline; which champion is compared with which source is part of it, so it has no parameters.

    Args:
        config: The settings; `promotion.model` names the model.
        cooldown: Seconds after a training was started in which no other is.
        from_scratch: Train new weights instead of going on from the champion's.
        installation: Policies in place of those of the table.
        method: Pipeline of the training, which is built from the settings if none is given.
    """
    own = installation and replace(installation, run=RunPolicy())
    training = method or built(longtail_pipeline, own, config)
    values = arguments(config, "")
    check = DriftCheckConfig(config.promotion.model, cooldown, from_scratch, config.data, config.backbone, config.drift)

    @dsl.pipeline(name="longtail-retraining", description=f"Train {config.promotion.model} again if there is a reason")
    def longtail_retraining() -> None:
        checked = drift_check(config=to_dict(check), seed=config.seed)
        apply(checked, POLICY["drift_check"])
        found = {"data_digest": checked.outputs["data_digest"], "backbone": checked.outputs["training"]}
        # Not a named output: kfp's local runner takes no condition on one.
        with dsl.If(checked.outputs["Output"] == True):  # noqa: E712
            training(**{**values, **found})

    return longtail_retraining


def retraining_specification(
    config: PipelineConfig, *, cooldown: int, from_scratch: bool, installation: Installation | None = None
) -> Documents:
    """Return the compiled pipeline and its Kubernetes settings, as plain values."""
    pipeline = retraining_pipeline(config, cooldown=cooldown, from_scratch=from_scratch, installation=installation)
    return compiled(built(pipeline, installation))
