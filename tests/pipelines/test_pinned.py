import pytest

from longtail.errors import InputError
from longtail.settings import resolve
from pipelines.pinned import pinned
from tests.registered import registered


def test_an_alias_becomes_the_version_that_it_means_now(tmp_path):
    with registered(tmp_path):
        config = resolve("digits", ["backbone.weights=models:/digits@champion"])
        assert pinned(config).backbone.weights == "models:/digits/1"
        with pytest.raises(InputError, match="challenger"):
            pinned(resolve("digits", ["backbone.weights=models:/digits@challenger"]))


@pytest.mark.parametrize("weights", ["", "published", "models:/digits/3", "me@home.pth"])
def test_anything_else_is_left_as_it_is(weights):
    config = resolve("digits", [f"backbone.weights='{weights}'"])
    assert pinned(config) is config
