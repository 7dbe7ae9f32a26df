"""The exact gradient of a problem, and whether it is more than rounding."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gatewise.auditing.problem import DOUBLE, Problem, Repeated
from gatewise.errors import GatewiseError
from gatewise.estimators import Enumeration
from gatewise.outcomes import joint_log_probs

UNITS = 8
"""Units in the last place that values of f are taken to be off by."""


@dataclass(frozen=True)
class Exact:
    """The gradient of Σ_z π_z f(z).

    Attributes:
        by_logits: for the logits, in their shape, float64.
        unit: its largest entry.
        length: ‖g‖/unit, at the level that is audited.
        direction: g/‖g‖ at that level, `[D]`.
        rounding: what its arithmetic may make of it, relative to its length: for estimators that ask f for values
            at categories; and for those that ask for its slope.
    """

    by_logits: Tensor
    unit: float
    length: float
    direction: Tensor
    rounding: tuple[float, float]


@dataclass(frozen=True)
class _Rows:
    """What decides whether a row has a gradient: `[*batch, N]`, outcomes without probability left out."""

    probs: Tensor
    values: Tensor

    @property
    def size(self) -> Tensor:
        """The largest |f|, `[*batch]`."""
        return self.values.abs().amax(-1)

    @property
    def range(self) -> Tensor:
        """Between the largest f and the smallest, `[*batch]`."""
        here = self.probs > 0
        high = torch.where(here, self.values, -torch.inf).amax(-1)
        return high - torch.where(here, self.values, torch.inf).amin(-1)


def exact_gradient(problem: Problem) -> Exact:
    """By enumeration in float64.

    Raises:
        GatewiseError: if it is 0, or no more than rounding, or not finite, so that nothing can be told relative to it.
    """
    rows = _rows(problem)
    gradient = _by_logits(problem, rows)
    if not bool(gradient.isfinite().all()):
        raise GatewiseError("the exact gradient is not finite: f or the logits hold infinities or NaN")
    # by the largest first: squares may leave the range of the type
    unit, size = float(gradient.abs().amax()), float(rows.size.amax())
    by_values, by_slopes = (_rounding(rows, size, eps) for eps in (problem.table_eps, problem.point_eps))
    length = float((gradient / unit).norm()) * (unit / size) if unit and size else 0.0
    if length <= by_values:
        raise GatewiseError(_zero(problem, rows, unit))
    pulled = problem.pulled((gradient / unit).unsqueeze(0))[0].double()
    if not bool(pulled.isfinite().all()):
        raise GatewiseError("the exact gradient for the parameters is not finite: the gate's own derivative is not")
    found = float(pulled.norm())
    if found <= _cancelled(problem, gradient / unit):
        raise GatewiseError(
            "the exact gradient for the parameters is 0: that for the logits is not, but it cancels on its way to the "
            'parameters, so no estimator can be compared with it; audit it at level="logits"'
        )
    # what estimators make of values in float64 is rounded too
    own = UNITS * DOUBLE * _length(rows.size / size)
    return Exact(gradient, unit, found, pulled / found, (own / length, (own + by_slopes) / length))


def _rows(problem: Problem) -> _Rows:
    probs = joint_log_probs(problem.logits, problem.event_dims).exp()
    return _Rows(probs, torch.where(probs > 0, problem.table, 0.0))


def _by_logits(problem: Problem, rows: _Rows) -> Tensor:
    """In the shape of the logits. f less its value where it is drawn most: what is left does not cancel at the end."""
    likely = rows.values.gather(-1, rows.probs.argmax(-1, keepdim=True))
    leaf = problem.logits.clone().requires_grad_()
    with torch.enable_grad():
        centred = Repeated(problem, rows.values - likely)
        value = Enumeration()(centred, leaf.unsqueeze(0), event_dims=problem.event_dims).value
        (gradient,) = torch.autograd.grad(value.sum(), leaf)
    return gradient


def _rounding(rows: _Rows, size: float, eps: float) -> float:
    """How long a gradient the rounding of f makes, by `size`, the largest |f|."""
    if not size:
        return 0.0
    open_ = (rows.probs * (1 - rows.probs)).norm(dim=-1)
    return UNITS * (eps * _length(open_ * (rows.size / size)) + DOUBLE * _length(rows.size / size))


def _length(sizes: Tensor) -> float:
    return float(sizes.norm())


def _cancelled(problem: Problem, gradient: Tensor) -> float:
    """What rounding leaves of a gradient for the parameters that is 0: it is a sum of numbers of either sign."""
    if problem.pull is None:
        return 0.0
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(2, (8, *gradient.shape), generator=generator).mul_(2).sub_(1).to(gradient)
    terms = problem.pulled(signs * gradient).double().norm(dim=1)
    return UNITS * problem.pull_eps * math.sqrt(float(terms.square().mean()))


def _zero(problem: Problem, rows: _Rows, unit: float) -> str:
    """Why there is no gradient, as far as it is known."""
    # one latent of several may be certain, and then the row is not
    certain = rows.probs.amax(-1) >= 1 - UNITS * DOUBLE
    flat = rows.range <= UNITS * problem.table_eps * rows.size
    what = "expert" if problem.mixture else "category"
    if problem.logits.shape[-1] == 1:
        why = f"there is one {what} (K = 1), and so nothing to choose"
    elif bool(certain.all()):
        why = f"the choice is certain: in every row one {what} has all the probability"
    elif bool(flat.all()):
        why = f"in every row f is the same for every {what} that may be chosen"
        why += ", but for rounding" if bool((rows.range > 0).any()) else ""
    elif bool((certain | flat).all()):
        why = f"in every row the choice is certain, or f is the same for every {what} that may be chosen"
    elif problem.event_dims and unit <= UNITS * DOUBLE * float(rows.size.amax()):
        why = (
            "f varies, but its mean stays what it is when the probabilities of any one latent change, as that of the "
            "exclusive or of two fair bits does"
        )
    else:
        size = float(rows.size.amax())
        why = f"its largest entry is {unit:.1e}, and the rounding of f, which comes to {size:.1e}, makes as much"
    instead = "audit other logits" if problem.event_dims else "audit other data, or a gate that still chooses"
    return f"the exact gradient is 0, so no estimator can be compared with it: {why}; {instead}"
