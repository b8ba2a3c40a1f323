"""The container images that components run in: the only place that knows them."""

import json
from pathlib import Path

from longtail.errors import InputError

IMAGES = Path(__file__).with_name("images.json")
"""A link to docker/images.json, and a copy of it in an installed package."""


def image(variant: str) -> str:
    """Return the reference of the `cpu` or the `cuda` image, by digest once it was pushed.

    Raises:
        InputError: If it was never built.
    """
    entry = json.loads(IMAGES.read_text(encoding="utf-8")).get(variant)
    if not entry:
        raise InputError(f"docker/images.json has no {variant!r} image: build it with `make images`, or name another")
    digest = f"@{entry['digest']}" if entry.get("digest") else f":{entry['tag']}"
    return f"{entry['name']}{digest}"


CPU = image("cpu")
