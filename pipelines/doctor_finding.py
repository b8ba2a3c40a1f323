"""What a check of `longtail doctor` says."""

from dataclasses import dataclass

OK, NOT_SET, NOTE, WRONG = "ok", "not set", "note", "wrong"


@dataclass(frozen=True)
class Finding:
    """What was found.

    Attributes:
        state: `ok`, `not set`, `note` (works, but look at it) or `wrong`.
        message: What it is, or what to do.
    """

    state: str
    message: str
