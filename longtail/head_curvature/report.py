"""What balancing a classifier does to the curvature of its last layer: numbers by method, rows, and one sentence."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from longtail.head_curvature.blocks import ALL, Block


@dataclass(frozen=True)
class HeadCurvature:
    """Curvature of one classifier's last layer.

    Attributes:
        head: Kind of head, one of `longtail.networks.HEADS`.
        tukey: Power that the features are raised to before the head.
        loss: Mean cross-entropy on the subset.
        weight_norm: Frobenius norm of the weight as it was trained.
        blocks: On the subset, the whole layer (`all`), then each group that has classes.
        training_traces: Exact traces of the same blocks on all training rows, so the classes as often as they are
            there; None for a head without a closed form.
        training_gauss_newton: The same of the Gauss-Newton matrix.
    """

    head: str
    tukey: float
    loss: float
    weight_norm: float
    blocks: dict[str, Block]
    training_traces: dict[str, float] | None
    training_gauss_newton: dict[str, float] | None

    @property
    def gauss_newton(self) -> dict[str, float] | None:
        """Trace of the Gauss-Newton matrix in each block, on the subset."""
        found = {group: block.gauss_newton for group, block in self.blocks.items()}
        return {group: trace for group, trace in found.items() if trace is not None} or None

    @property
    def has_residual(self) -> bool:
        """Whether the traces are known to be others than those of the Gauss-Newton matrix."""
        return any(block.gauss_newton not in (None, block.trace) for block in self.blocks.values())

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain JSON values."""
        return asdict(self)


def shares(traces: Mapping[str, float] | None) -> dict[str, float]:
    """Return each group's share of the sum of all groups; nothing without traces or if all are zero.

    >>> shares({"all": 4.0, "many": 3.0, "few": 1.0})
    {'many': 0.75, 'few': 0.25}
    """
    parts = {group: trace for group, trace in (traces or {}).items() if group != ALL}
    total = sum(parts.values())
    return {group: trace / total for group, trace in parts.items()} if total else {}


def sentence(heads: Mapping[str, HeadCurvature]) -> str:
    """Return what the last method does to the last layer's curvature, compared with the first, in one sentence."""
    if not heads:
        return "No classifier's last layer could be analysed."
    (first, before), (last, after) = next(iter(heads.items())), list(heads.items())[-1]
    old, new = before.blocks[ALL], after.blocks[ALL]
    if first == last:
        values = (number(value) for value in (old.trace, old.top_eigenvalue, before.loss))
        return "The last layer of {} has trace {} and top eigenvalue {} at mean loss {}.".format(first, *values)
    clauses = [_clause("the last layer's trace", old.trace, new.trace)]
    name = "trace"
    if before.has_residual or after.has_residual:
        name = "Gauss-Newton trace"
        clauses.append(_clause(f"its {name}", old.gauss_newton or 0.0, new.gauss_newton or 0.0))
    clauses.append(_clause("its top eigenvalue", old.top_eigenvalue, new.top_eigenvalue))
    few = [found["few"] for head in (before, after) if "few" in (found := shares(head.gauss_newton))]
    if len(few) == 2:
        clauses.append(f"moves the few-shot classes' share of the {name} from {few[0]:.0%} to {few[1]:.0%}")
    body = f"{', '.join(clauses[:-1])} and {clauses[-1]}".replace("%", " %")
    return f"Balancing by {last} {body}; mean loss {_change(before.loss, after.loss)}, compared with {first}."


def number(value: float) -> str:
    """Return three digits of a number, without an exponent where it can be read without.

    >>> [number(value) for value in (0.01234, 12.345, 12345.6)]
    ['0.0123', '12.3', '12,346']
    """
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.3g}"


def _clause(what: str, before: float, after: float) -> str:
    verb = "lowers" if after < before else "raises" if after > before else "leaves"
    return f"{verb} {what} {_change(before, after)}"


def _change(before: float, after: float) -> str:
    """Return both values and their ratio; only the value if it did not change."""
    if before == after:
        return f"at {number(before)}"
    ratio = f" (×{number(after / before)})" if before > 0 and after > 0 else ""
    return f"from {number(before)} to {number(after)}{ratio}"
