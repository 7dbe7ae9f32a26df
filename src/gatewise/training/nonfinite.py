"""Numbers that are not finite: a batch that has some, for which no step was taken, traced to an expert and a term."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from gatewise.config.run import LoopConfig
from gatewise.distributed.dtensor import first_expert, is_sharded, local
from gatewise.training.data_parallel import Piece
from gatewise.training.step import Snapshot, Terms, TrainStep

BEYOND = "the norm of the gradient is beyond what float32 holds"


def advice(found: str, config: LoopConfig) -> str:
    """What was found, and what to do about it."""
    return (
        f"{found}; lower lr (it was {config.lr}), check the data for extreme values, or let training pass over "
        "a few such batches with --set skip_nonfinite=3"
    )


def trace(train_step: TrainStep, pieces: Sequence[Piece]) -> str:
    """Where the first number that is not finite arises: the batch is run again, with the same noise.

    The processes that train together say the same: what is nearest to the rows, of what each finds in its own.

    Args:
        train_step: as it was before the batch, and is left so.
        pieces: the micro-batches of the batch.
    """
    before = Snapshot(train_step)
    whole = train_step.whole_statistics(pieces)()
    # experts that are spread run where all processes run them: then none stops at what it finds first
    own = (_of_piece(train_step, piece, whole) for piece in pieces)
    found = list(own) if train_step.mixture.experts.collective else own
    first = next((each for each in found if each is not None), (4, BEYOND))
    before.put_back()
    return min(train_step.group.all_gather(first))[1]


def _of_piece(train_step: TrainStep, piece: Piece, whole: dict[int, Tensor]) -> tuple[int, str] | None:
    """How many steps behind the rows, and where, the first such number of a micro-batch arises."""
    looks = _looks(train_step, piece, whole)
    found = list(looks) if train_step.mixture.experts.collective else looks
    return next(((depth, said) for depth, said in enumerate(found) if said is not None), None)


def _looks(train_step: TrainStep, piece: Piece, whole: dict[int, Tensor]) -> Iterator[str | None]:
    """What is found in the rows, then in the model, in the terms and in their gradients."""
    bad = first_bad(piece.x)
    yield None if bad is None else f"the rows hold {bad} ({_rows(piece.x)})"
    with train_step.autocast():
        terms = train_step.terms(piece, whole)
    yield _of_model(terms)
    yield _of_terms(train_step, terms)
    yield _of_gradients(train_step, terms)


def first_bad(values: Tensor) -> str | None:
    """The first number that is not finite, in words; None where all are."""
    if not values.is_floating_point():
        return None
    bad = values[~values.isfinite()]
    return f"{bad[0].item():g}" if len(bad) else None


def _rows(values: Tensor) -> str:
    """On how many rows of `[B, ...]` some number is not finite."""
    bad = (~values.flatten(1).isfinite()).any(1) if values.dim() > 1 else ~values.isfinite()
    return f"{int(bad.sum())} of {len(values)} rows of the batch"


@torch.no_grad()
def _of_model(terms: Terms) -> str | None:
    """The trunk, the gate or the experts that put out what is not finite; a gate may mask experts with -inf."""
    observed = terms.observed
    log_probs = observed.at_all()
    if (found := first_bad(observed.features)) is not None:
        return f"the trunk puts out {found} on {_rows(observed.features)}"
    masked = observed.logits == -torch.inf
    logits = torch.where(masked & ~masked.all(-1, keepdim=True), 0.0, observed.logits)
    if (found := first_bad(logits)) is not None:
        return f"the gate puts out {found} on {_rows(logits)}"
    log_probs = torch.where(masked, 0.0, log_probs)
    for expert, values in enumerate(log_probs.T):
        if (found := first_bad(values)) is not None:
            return f"log p(y|z,x) of expert {expert} is {found} on {_rows(values)} (the likelihood term)"
    return None


def _of_terms(train_step: TrainStep, terms: Terms) -> str | None:
    """The term of the loss that is not finite, though the model is."""
    for name, term in _named(train_step, terms):
        if (found := first_bad(term.detach().reshape(1))) is not None:
            return f"{name} is {found}"
    return None


def _of_gradients(train_step: TrainStep, terms: Terms) -> str | None:
    """The part of the model, and the term, of a gradient that is not finite."""
    named = [
        *train_step.mixture.named_parameters(),
        *((f"own.{n}", p) for n, p in train_step.objective.named_parameters()),
    ]
    named = [(name, parameter) for name, parameter in named if parameter.requires_grad]
    said = None
    for what, term in _named(train_step, terms):
        if not term.requires_grad:
            continue
        slopes = torch.autograd.grad(term, [p for _, p in named], retain_graph=True, allow_unused=True)
        for (name, _), slope in zip(named, slopes, strict=True):
            if said is None and slope is not None and (found := first_bad(local(slope))) is not None:
                said = f"the gradient of {what} for {_part(name, slope, train_step.mixture.num_experts)} is {found}"
    return said


def _named(train_step: TrainStep, terms: Terms) -> Iterator[tuple[str, Tensor]]:
    yield f"the likelihood term (objective {train_step.objective.name})", terms.value
    for regulariser, penalty in zip(train_step.regularisers, terms.penalties, strict=True):
        yield f"the regulariser {regulariser.name}", penalty
    if terms.control is not None:
        yield "the loss of the estimator's own parameters", terms.control


def _part(name: str, slope: Tensor, num_experts: int) -> str:
    """What a parameter belongs to."""
    part, _, rest = name.partition(".")
    if part != "experts":
        return {"gate": "the gate", "trunk": "the trunk", "own": "the objective's own parameters"}.get(part, name)
    kind, _, rest = rest.partition(".")
    if kind == "members":  # a list of modules
        return f"expert {rest.partition('.')[0]}"
    if slope.dim() and len(slope) == num_experts:  # a bank, stacked
        before = first_expert(slope) if is_sharded(slope) else 0
        return f"expert {before + int((~local(slope).flatten(1).isfinite()).any(1).nonzero()[0])}"
    return f"the experts ({name})"
