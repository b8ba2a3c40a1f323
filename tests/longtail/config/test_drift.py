import pytest

from longtail.config import DriftConfig, parse, to_dict
from longtail.errors import InputError


def test_defaults_survive_kubeflow():
    plain = to_dict(DriftConfig()) | {"images_per_class": 20.0}
    assert parse(DriftConfig, plain) == DriftConfig()


@pytest.mark.parametrize("setting", [{"images_per_class": 4}, {"false_alarms": 0}, {"share_distance": 1.5}])
def test_what_makes_no_sense_is_refused(setting):
    with pytest.raises(InputError):
        parse(DriftConfig, setting)
