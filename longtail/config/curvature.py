"""Settings of what backbone training does with curvature: penalise its trace, and follow it over the epochs."""

from dataclasses import dataclass

from longtail.config.fields import choice, number


@dataclass(frozen=True)
class TracePenaltyConfig:
    """Hessian-trace regularisation (HTR, arXiv 2012.03801): the trace of the loss's curvature is minimised too."""

    weight: float = number(0.0, minimum=0.0)
    """Factor gamma of the trace, on the steps that have it; 0 trains without."""
    layers: tuple[str, ...] = ("all",)
    """`all` parameters; `middle`, the middle half of them in their order, as in the paper; or shell patterns of their
    names, such as `backbone.layer2.*`."""
    form: str = choice("auto", "first_order", "hutchinson")
    """`hutchinson`: the Hessian's trace, by second derivatives; `first_order`: that of the Gauss-Newton matrix, never
    negative, at less cost; `auto`: `first_order` where the two are the same, as in a network of ReLUs with a linear
    head and no batch statistics."""
    probes: int = number(1, minimum=1)
    """Random probes that an estimate averages over; the cost grows with them. The paper's code has 3 to 10."""
    law: str = choice("rademacher", "gaussian")
    """Of the probes; `rademacher` has the least variance."""
    every: int = number(10, minimum=1)
    """Steps from one with the penalty to the next, counted in an epoch from its first; 50 in the paper's code."""
    share: float = number(0.25, minimum=0.01, maximum=1.0)
    """Share of the minibatch's images that the trace is estimated on."""
    batch_norm: str = choice("share", "eval", "train")
    """`share`: the trace of the training loss of the share, with its own batch statistics, in a forward pass of its
    own; `eval`: that of the network as it is evaluated, which training can make flat by growing its outputs where no
    training step sees it; `train`: that of the training loss itself, on the whole minibatch whatever `share` is."""
    start: float = number(0.0, minimum=0.0, maximum=1.0)
    """Share of the steps before the first penalty."""
    ramp: float = number(0.1, minimum=0.0, maximum=1.0)
    """Share of the steps over which the factor then grows from zero to `weight`."""
    largest_gradient: float = number(10.0, minimum=0.0)
    """Norm to which a step with the penalty shortens its whole gradient; 0 leaves it as long as it is."""


@dataclass(frozen=True)
class CurvatureConfig:
    """Curvature of the loss during the training, on the same training images and random probes every time."""

    every: int = number(0, minimum=0)
    """Epochs from one analysis to the next, from before the first epoch to after the last; 0 for none."""
    images_per_class: int = number(1, minimum=1)
    """Training images of a class in the fixed subset; they are not augmented."""
    probes: int = number(4, minimum=2)
    """Random probes of each trace."""
    lanczos_steps: int = number(10, minimum=2)
    """Products that a top eigenvalue is found with."""
    batch_size: int = number(100, minimum=1)
    """Images of a twice differentiable graph: memory grows with it."""
