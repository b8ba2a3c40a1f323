import dataclasses

import pytest

from longtail.config import parse
from longtail.config.fields import choice, items, name, number
from longtail.errors import InputError


@dataclasses.dataclass(frozen=True)
class Settings:
    kind: str = choice("a", "b")
    model: str = name(("own",), prefixes=("library:",))
    several: tuple[str, ...] = items(("x", "y"), "z")
    share: float = number(0.5, minimum=0.0, maximum=1.0)


def test_defaults_are_the_first_words():
    assert Settings() == Settings("a", "own", ("x", "y"), 0.5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "c"}, r"^kind is 'c': choose from a, b$"),
        ({"model": "other"}, r"^model is 'other': choose from own, library:NAME$"),
        ({"several": ["x", "w"]}, r"^several has 'w': choose from x, y, z$"),
        ({"several": []}, r"^several is \[\]: give one or more different ones of x, y, z$"),
        ({"several": ["x", "x"]}, r"^several is \['x', 'x'\]: give one or more different ones"),
        ({"share": 1.5}, r"^share is 1.5: it must be at most 1$"),
    ],
)
def test_what_a_field_refuses(values, message):
    with pytest.raises(InputError, match=message):
        parse(Settings, values)


def test_what_a_field_takes():
    taken = parse(Settings, {"kind": "b", "model": "library:big", "several": ["z"], "share": 1})
    assert taken == Settings("b", "library:big", ("z",), 1.0)
