"""The container images that components run in: the only place that knows them."""

import json
from pathlib import Path

IMAGES = Path(__file__).parent.parent / "docker" / "images.json"


def _read(variant: str) -> str:
    entry = json.loads(IMAGES.read_text(encoding="utf-8"))[variant]
    digest = f"@{entry['digest']}" if entry.get("digest") else f":{entry['tag']}"
    return f"{entry['name']}{digest}"


CPU = _read("cpu")
