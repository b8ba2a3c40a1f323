from longtail.config import DriftConfig, parse, to_dict
from longtail.config.drift_check import DriftCheckConfig


def test_groups_of_the_pipeline_are_parts_of_it():
    given = {"model": "fish", "cooldown": 3600.0, "drift": {"shift": 1}, "backbone": {"epochs": 3.0}}
    config = parse(DriftCheckConfig, given)
    assert (config.cooldown, config.drift, config.backbone.epochs) == (3600, DriftConfig(shift=1.0), 3)
    assert parse(DriftCheckConfig, to_dict(config)) == config
