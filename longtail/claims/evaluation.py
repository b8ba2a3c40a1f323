"""Which measurements each claim is judged by, and which figures belong to it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from longtail.claims.experiment import SGD
from longtail.claims.figures import distance_figure, flatness_figure, training_figure
from longtail.claims.generalisation import flatness, middle_only
from longtail.claims.records import Run
from longtail.claims.rules import Finding
from longtail.claims.spectra import gauss_newton, nearest, outliers, resemblance
from longtail.claims.training_trends import falling
from longtail.pages import Plot

Judge = Callable[[Sequence[Run], str], Finding]

_OF_SPECTRA: dict[str, Judge] = {"C1": resemblance, "C2": nearest, "C4": outliers, "C5": gauss_newton}


@dataclass(frozen=True)
class Figure:
    """A figure and the name of its file."""

    file: str
    plot: Plot


def findings(claims: Sequence[str], trained: Sequence[Run], given: Sequence[Sequence[Run]]) -> Iterator[Finding]:
    """Yield a finding for each claim and each kind of network that it can be judged on.

    Args:
        claims: Which ones.
        trained: Runs of this experiment, of all ways of training that the claims need; none if nothing was trained.
        given: Networks that were trained elsewhere, those of a kind together: spectra at the end of training only.
    """
    plain = [run for run in trained if run.arm == SGD]
    of_training: dict[str, tuple[Judge, Sequence[Run]]] = {
        "C3": (falling, plain),
        "C6": (flatness, trained),
        "C7": (middle_only, trained),
    }
    for claim in claims:
        if claim in _OF_SPECTRA:
            for runs in ([plain] if plain else []) + [*given]:
                yield _OF_SPECTRA[claim](runs, networks(runs))
        elif trained:
            judge, runs = of_training[claim]
            yield judge(runs, networks(runs))


def figures(claims: Sequence[str], trained: Sequence[Run], given: Sequence[Sequence[Run]]) -> Iterator[Figure]:
    """Yield the figures that go with the claims; arguments as of `findings`."""
    plain = [run for run in trained if run.arm == SGD]
    if plain and "C3" in claims:
        alt = "Trace and top eigenvalue of each seed over the epochs, on a log scale"
        yield Figure("training.png", Plot(training_figure(plain), alt, "C3: curvature along training"))
    groups = ([plain] if plain else []) + [*given]
    if groups and {"C1", "C2"} & {*claims}:
        alt = "Distance of each layer's spectrum to the whole network's, from input to output"
        yield Figure("distances.png", Plot(distance_figure(groups), alt, "C1 and C2: distances over depth"))
    if trained and "C6" in claims:
        alt = "Trace along the training loss, and test error beside the trace at equal training loss"
        yield Figure("flatness.png", Plot(flatness_figure(trained), alt, "C6: trace and test error"))


def networks(runs: Sequence[Run]) -> str:
    """Return which networks some runs are of, in words."""
    given = runs[0].arm == "as given"
    number = len(runs) if given else len({run.seed for run in runs})
    unit = "network" if given else "seed"
    return f"{runs[0].network}, {number} {unit}{'s' if number > 1 else ''}"
