import pytest

from longtail.errors import InputError


def test_bad_input_is_a_value_error():
    with pytest.raises(ValueError, match=r"^path is 'x'$"):
        raise InputError("path is 'x'")
