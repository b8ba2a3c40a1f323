"""Secrets out of everything that is logged: a tracking server shows its parameters to every user, for ever."""

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "***"

_SECRET_WORD = r"passw(?:or)?d|passphrase|secret|token(?!iz)|access_?key|api_?key|private_?key|credential|amz-signature"
_SECRET_NAME = re.compile(_SECRET_WORD, re.IGNORECASE)
# Repetitions are bounded, as an open repetition takes quadratic time on a long text without a match.
_PATTERNS = (
    # A password may hold "@" or "/", so everything up to the last "@" goes.
    (
        re.compile(r"(\b[a-z][a-z0-9+.-]{0,30}://)[^/\s:@'\"]{0,1000}(?::[^\s'\"]{0,1000})?@", re.IGNORECASE),
        rf"\1{HIDDEN}@",
    ),
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{8,}", re.IGNORECASE), rf"\1 {HIDDEN}"),
    (
        re.compile(rf"((?:{_SECRET_WORD})[\w-]{{0,30}}['\"]?\s*[=:]\s*['\"]?)[^\s'\"&,;)}}\]]+", re.IGNORECASE),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"), HIDDEN),
)


def redact(value: Any, name: str = "") -> Any:
    """Return a value without its secrets.

    Args:
        value: Text, a number, or mappings and lists of them.
        name: The setting's name; a value under a name such as `s3_secret_key` is hidden whole.

    Returns:
        The value with the same structure; `***` stands for what was taken out, also for the password and
        user inside a URI, for a bearer token and for `password=...` inside a text.
    """
    if _SECRET_NAME.search(name) and value is not None and value != "":
        return HIDDEN
    if isinstance(value, Mapping):
        return {key: redact(item, str(key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [redact(item, name) for item in value]
    if isinstance(value, str):
        for pattern, replacement in _PATTERNS:
            value = pattern.sub(replacement, value)
    return value
