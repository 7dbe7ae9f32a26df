"""The audit: how far every estimator is from the exact gradient on the user's own model."""

import time
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from gatewise.auditing.grid import (
    TEMPERATURES,
    Choice,
    Refused,
    Setting,
    checked_counts,
    checked_temperatures,
    settings,
)
from gatewise.auditing.monte_carlo import WARM_UP, Bench, NotFinite, make_bench
from gatewise.auditing.recommendation import by_evaluations, check_reachable, named, recommend
from gatewise.auditing.result import Audit
from gatewise.auditing.row import Row
from gatewise.auditing.statistics import FEWEST
from gatewise.auditing.subjects import NO_ROWS, of_function, of_mixture
from gatewise.errors import GatewiseError
from gatewise.mixture import MixtureOfExperts
from gatewise.mixture.eval_mode import in_eval_mode

LEVELS = ("logits", "parameters")
UNCLEAR = 0.1
"""Where the interval for a bias that was not found ends above this, the notes say so."""


def audit(
    model_or_f: Any,
    data_or_logits: Any,
    estimators: Iterable[Choice] | None = None,
    *,
    num_samples: int | Iterable[int] | None = None,
    temperatures: float | Iterable[float] = TEMPERATURES,
    max_evaluations: int | None = None,
    seconds: float = 30.0,
    level: str = "logits",
    event_dims: int = 0,
    context: Tensor | None = None,
    parameters: Iterable[Tensor] | None = None,
    costs: Sequence[float] | Tensor | None = None,
    precision: float = 0.02,
    repetitions: int | None = None,
    seed: int = 0,
    own: tuple[Choice, int] | None = None,
) -> Audit:
    """Compare gradient estimators with the exact gradient, on a model and data of your own.

    The exact gradient is a sum over all categories. Each estimator is repeated with noise of its own, how often is
    fixed by a pilot that is then thrown away, and its bias, variance and cost come with 95 % intervals. Modules are in
    inference mode meanwhile (dropout off), and are then as they were; nobody's `.grad` is touched.

    Args:
        model_or_f: a `MixtureOfExperts`, audited on its Jensen bound; or any f that `gatewise.expect` takes.
        data_or_logits: for a mixture (x, y), or (x, y, gate_x); for an f logits `[*batch, K]`.
        estimators: names, (name, options) pairs, or estimators as they are (those keep what they have learned);
            None for all that are registered.
        num_samples: S, one or several; None for 1, 2 and 4 with estimators that run only what they draw.
        temperatures: tried with every estimator that has one and was not given its own.
        max_evaluations: the recommendation evaluates at most so many categories an example; None for all K.
        seconds: about how long it may take; with less time the intervals are wider.
        level: "logits" measures the gradient for the logits, "parameters" that for the gate's own parameters.
        event_dims: 1 for L latents with one joint value, `[*batch, L, K]`.
        context: `[*batch, D]`, what a learned baseline sees; a mixture has its own.
        parameters: for an f at level "parameters", what the logits were computed from.
        costs: K numbers, what each category costs; None measures experts of different kinds, else all are equal.
        precision: the half width wanted for the intervals of an unbiased estimator, relative to the gradient.
        repetitions: so many for every setting, at least 128; None lets the pilot decide.
        seed: of all noise.
        own: the estimator that the model is trained with, and its number of samples: audited besides, and marked.

    Raises:
        GatewiseError: for arguments that cannot work together, an exact gradient of 0, or if no estimator can be
            audited.

    >>> import torch
    >>> import gatewise as gw
    >>> scores, logits = torch.tensor([0.0, 1.0, 3.0]), torch.zeros(1, 3)
    >>> estimators = ["score-function", "straight-through"]
    >>> found = gw.audit(lambda point: (point @ scores) ** 2, logits, estimators, num_samples=1, repetitions=2000)
    >>> sorted((row.estimator, row.biased) for row in found.rows)
    [('score-function', False), ('straight-through', True)]
    """
    started = time.perf_counter()
    _check_level(level)
    counts, lambdas = checked_counts(num_samples), checked_temperatures(temperatures)
    _check_whole(max_evaluations, "max_evaluations must be at least 1", 1)
    _check_whole(repetitions, f"repetitions must be at least {FEWEST} for the intervals to hold", FEWEST)
    _check_whole(seed, "seed must be a whole number from 0", 0)
    if not all(isinstance(value, int | float) and value > 0 for value in (seconds, precision)):
        raise GatewiseError(f"seconds and precision must be positive, got {seconds!r} and {precision!r}")
    with in_eval_mode(model_or_f), torch.random.fork_rng(devices=_cuda_devices(model_or_f, data_or_logits)):
        torch.manual_seed(seed)  # networks that estimators learn with start from it
        if isinstance(model_or_f, MixtureOfExperts):
            problem = of_mixture(model_or_f, data_or_logits, level, costs)
        else:
            logits = _checked_logits(data_or_logits, event_dims)
            problem = of_function(model_or_f, logits, level, event_dims, context, parameters, costs)
        found, refused = settings(estimators, counts, lambdas, problem.num_categories, _width(problem.context), own)
        most = max_evaluations or problem.table.shape[-1]
        if found and not event_dims:
            check_reachable([each.most_evaluations(problem.num_categories) for each in found], most)
        bench = make_bench(problem, precision, repetitions, seed)
        rows, more = measure_all(bench, found, started + seconds)
    if not rows:
        first = (refused + more)[0]
        raise GatewiseError(f"no estimator could be audited: {first.estimator}: {first.reason}")
    return conclude(bench, rows, [*refused, *more], level, max_evaluations, time.perf_counter() - started)


def measure_all(bench: Bench, found: Sequence[Setting], deadline: float) -> tuple[list[Row], list[Refused]]:
    """The rows of all settings, the time that is left shared among those to come."""
    rows, refused = [], []
    for number, setting in enumerate(found):
        name = setting.estimator.name
        missing = setting.estimator.calls - bench.problem.provides
        if missing:
            refused.append(Refused(name, f"it asks f for its value at a {min(missing)}, which f does not have"))
            continue
        share = max(0.0, deadline - time.perf_counter()) / (len(found) - number)
        try:
            rows.append(bench.measure(setting, share))
        except (GatewiseError, NotFinite) as problem:
            refused.append(Refused(name, str(problem)))
        except Exception as problem:  # an estimator of somebody's that fails does not lose what others gave
            refused.append(Refused(name, f"it failed: {type(problem).__name__}: {problem}"))
    return rows, list(dict.fromkeys(refused))


def conclude(
    bench: Bench, rows: list[Row], refused: list[Refused], level: str, max_evaluations: int | None, seconds: float
) -> Audit:
    """Order the rows, recommend, and say what must be known."""
    problem = bench.problem
    rows = sorted(rows, key=lambda row: row.relative_mse)
    categories = problem.num_categories
    most = max_evaluations or problem.table.shape[-1]
    return Audit(
        rows=rows,
        recommended=recommend(rows, most, categories, problem.mixture),
        by_evaluations=by_evaluations(rows, categories, problem.mixture),
        skipped=refused,
        notes=[*problem.notes, *_notes(bench, rows)],
        level=level,
        examples=problem.examples,
        num_categories=categories,
        size=bench.size,
        mixture=problem.mixture,
        max_evaluations=most,
        precision=bench.precision,
        seed=bench.seed,
        seconds=seconds,
    )


def _notes(bench: Bench, rows: list[Row]) -> list[str]:
    notes = []
    unbiased = [row for row in rows if row.unbiased]
    suspects = [row.label for row in unbiased if row.biased]
    if suspects:
        notes.append(
            f"{', '.join(dict.fromkeys(suspects))}: said to be unbiased and found biased. One in a hundred is found so "
            f"by chance, of {len(unbiased)} here; audit it again with another seed."
        )
    unclear = [row for row in rows if not row.biased and row.relative_bias_high > UNCLEAR]
    if unclear:
        notes.append(
            f"In {len(unclear)} of {len(rows)} setting{'s' * (len(rows) > 1)} there is so much noise that a bias of "
            f"{UNCLEAR:.0%} could not be told from none; give the audit more seconds, or fewer settings."
        )
    cautions: dict[str, list[str]] = {}
    for row in rows:
        if row.caution:
            cautions.setdefault(row.caution, []).append(named(row))
    notes += [f"Of {', '.join(labels)} the draws do not tell enough: {said}." for said, labels in cautions.items()]
    if any(row.weighed for row in rows):
        notes.append(
            "Rare categories carry much of this gradient, so they were drawn more often than they come, and what was "
            "drawn was weighed accordingly. Training draws them as they come: few steps see one."
        )
    if bench.learned:
        notes.append(
            f"Baselines and control variates learned for {WARM_UP} steps on these rows before they were measured."
        )
    if bench.problem.costs is not None:
        shares = bench.problem.costs
        notes.append(f"One category costs up to {float(shares.max() / shares.min()):.1f} times another.")
    return notes


def _check_whole(value: Any, said: str, least: int) -> None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or not least <= value < 2**63):
        raise GatewiseError(f"{said}, got {value!r}")


def _cuda_devices(model_or_f: Any, data_or_logits: Any) -> list[torch.device]:
    """Where torch's random state is to be left as it was, besides the CPU."""
    tensors = list(model_or_f.parameters()) if isinstance(model_or_f, torch.nn.Module) else []
    tensors += [data_or_logits] if isinstance(data_or_logits, Tensor) else []
    return list({tensor.device for tensor in tensors if tensor.is_cuda})


def _check_level(level: str) -> None:
    if level not in LEVELS:
        raise GatewiseError(f"unknown level {level!r}; choose one of {', '.join(LEVELS)}")


def _checked_logits(logits: Any, event_dims: int) -> Tensor:
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        raise GatewiseError(
            "for an f, give logits: a floating-point tensor [*batch, K]; to audit a model and its rows (x, y), give a "
            "MixtureOfExperts, of a run its model.mixture"
        )
    if event_dims not in (0, 1) or logits.dim() < 1 + event_dims or not logits.shape[-1]:
        raise GatewiseError(f"logits of shape {list(logits.shape)} do not fit event_dims={event_dims}")
    if not logits.numel():
        raise GatewiseError(NO_ROWS)
    return logits


def _width(context: Tensor | None) -> int | None:
    return None if context is None else context.shape[-1]
