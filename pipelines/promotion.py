"""The step that registers a model and decides about it: in a pipeline only if `promotion.model` is set."""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from components.promotion.component import promotion
from longtail.config import PipelineConfig, PromotionConfig, to_dict
from longtail.errors import InputError
from longtail.tracking.registry import check_name
from pipelines.policy import POLICY, apply

_PROMOTION: ContextVar[PromotionConfig] = ContextVar("promotion")


@contextmanager
def promoting(config: PromotionConfig) -> Generator[None]:
    """Put the step, with these settings, into pipelines that are being built; without a model's name leave it out."""
    token = _PROMOTION.set(config)
    try:
        yield
    finally:
        _PROMOTION.reset(token)


def check(config: PipelineConfig) -> None:
    """Raise `InputError` if a run could not register what it is told to."""
    wanted, methods = config.promotion, config.retraining.methods
    if wanted.model:
        check_name(wanted.model)
        if wanted.method and wanted.method not in methods:
            raise InputError(
                f"promotion.method is {wanted.method!r}: choose from retraining.methods, {', '.join(methods)}"
            )


def promotion_page(*, seed: Any, **artifacts: Any) -> dict[str, Any]:
    """Return the page of the step by its name in the run's report, if there is one; called while a pipeline is defined.

    Args:
        seed: The pipeline's seed.
        artifacts: Inputs of the step.
    """
    config = _PROMOTION.get(PromotionConfig())
    if not config.model:
        return {}
    decided = promotion(config=to_dict(config), seed=seed, **artifacts)
    apply(decided, POLICY["promotion"])
    return {"promotion_page": decided.outputs["report"]}
