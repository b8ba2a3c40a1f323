"""Settings of the step that decides in a schedule whether there is anything to train."""

from dataclasses import dataclass, field

from longtail.config.drift import DriftConfig
from longtail.config.fields import number
from longtail.config.groups import BackboneConfig, DataConfig


@dataclass(frozen=True)
class DriftCheckConfig:
    """Which champion is compared with which source, and how a training would start."""

    model: str = ""
    """Name of the registered model whose champion is compared."""
    cooldown: int = number(86400, minimum=0)
    """Seconds after a retraining was started in which no other is."""
    from_scratch: bool = False
    """Train new weights instead of going on from the champion's."""
    data: DataConfig = field(default_factory=DataConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    drift: DriftConfig = field(default_factory=DriftConfig)
