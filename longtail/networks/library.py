"""What a library's classifier tells of itself, whichever library it is."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from longtail.errors import InputError

COLOURS = 3
"""Channels that every network of a library reads."""


@dataclass(frozen=True)
class OwnInput:
    """The images that a network of a library was made for."""

    size: int  # side in pixels
    fixed: bool  # whether it reads no other size
    mean: tuple[float, ...]  # (3,) that its published weights were trained with, of pixel values in [0, 1]
    std: tuple[float, ...]  # (3,)


class LibraryModel(Protocol):
    """A classifier of a library, by name."""

    own_input: OwnInput

    def build(self) -> nn.Module:
        """Return its backbone with new weights.

        Beside `feature_size` it says in `left_out` how the names of weights begin that a whole classifier has more.
        """

    def published(self) -> dict[str, Tensor]:
        """Return the library's weights of the whole classifier.

        Raises:
            InputError: If there are none, or they cannot be downloaded.
        """


def unknown(network: str, known: Iterable[str]) -> InputError:
    """Return the error for a name that is none of the known ones; it names up to three that are near it."""
    library, colon, name = network.rpartition(":")
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    listed = ", ".join(library + colon + entry for entry in near or names)
    advice = "did you mean one of" if near else "choose from"
    return InputError(f"backbone.network is {network!r}, which is not known: {advice} {listed}")
