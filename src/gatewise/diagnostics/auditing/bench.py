"""The bench: an estimator, repeated, beside the exact gradient."""

import math
import time
from dataclasses import dataclass, field
from zlib import crc32

import torch
from torch import Tensor

from gatewise.diagnostics.auditing import intervals
from gatewise.diagnostics.auditing.clock import seconds_of
from gatewise.diagnostics.auditing.problem import Problem, Repeated
from gatewise.diagnostics.auditing.row import Row
from gatewise.diagnostics.auditing.settings import Setting
from gatewise.estimators import Enumeration
from gatewise.expectation import Estimate

WARM_UP = 200
"""Steps in which baselines and control variates learn before they are audited; where time is short, fewer."""
CHUNK = 2**18
"""Numbers of one tensor of repeated logits, so that a chunk stays in the processor's cache."""
COUNTED = 2**15
"""Numbers of repeated logits over which evaluations are averaged."""
PILOT = (32, 4096)
"""Repetitions that decide how many there will be: at least and at most, as the cost of one lets."""
WARM_EXAMPLES = 1024
"""Examples of a step in which baselines learn: so many that what they learn is not the noise of a small batch."""
MOST = 2**24
"""Numbers of gradients that are held at once."""


class NotFinite(Exception):
    """An estimator gave infinities or NaN; the text says how often."""


@dataclass
class Bench:
    """A problem with all that its measurements share.

    Attributes:
        problem: what is measured on.
        exact: its exact gradient `[D]`.
        exact_seconds: forward and backward by enumeration.
        rounding: a relative deviation that the arithmetic alone accounts for.
        precision: the half width that the intervals are to have.
        repetitions: R for every setting; None to decide it by a pilot.
        seed: of the noise.
    """

    problem: Problem
    exact: Tensor
    exact_seconds: float
    rounding: float
    precision: float
    repetitions: int | None
    seed: int
    generator: torch.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.generator = torch.Generator(self.problem.logits.device).manual_seed(self.seed)

    def measure(self, setting: Setting, budget: float) -> Row:
        """The row of a setting, in about `budget` seconds.

        Raises:
            NotFinite: if it gives numbers that are not finite.
            GatewiseError: if it refuses the problem.
        """
        deadline = time.perf_counter() + budget
        # torch looks at 32 bits of a seed on the CPU
        self.generator.manual_seed(crc32(repr((self.seed, setting.key)).encode()))
        self.warm_up(setting, time.perf_counter() + budget / 3)
        setting.estimator.eval()
        pilot = self.moments(setting, min(max(CHUNK // len(self.exact) // 2, PILOT[0]), PILOT[1]))
        seconds = self.seconds_of(setting, budget / 5)
        left = deadline - time.perf_counter()
        count = self.count(pilot, left)
        return self.row(
            setting, self.moments(setting, count, deadline - _statistics_seconds(count, len(self.exact))), seconds
        )

    def warm_up(self, setting: Setting, deadline: float) -> None:
        """Let an estimator that was made anew learn its baseline and control variate on this problem."""
        estimator = setting.estimator
        learned = [p for p in estimator.parameters() if p.requires_grad]
        if setting.warm or not (learned or list(estimator.buffers())):
            return
        estimator.train()
        optimiser = torch.optim.Adam(learned, lr=0.01) if learned else None
        for step in range(WARM_UP):
            if step >= WARM_UP // 10 and time.perf_counter() > deadline and self.repetitions is None:
                break
            _, estimate = self.estimate(setting, max(1, WARM_EXAMPLES // self.problem.examples))
            if optimiser is not None and estimate.control_loss is not None:
                optimiser.zero_grad()
                estimate.control_loss.backward()
                optimiser.step()

    def moments(self, setting: Setting, count: int, deadline: float = math.inf) -> intervals.Moments:
        """Moments of `count` repetitions, or of as many as there is time for: what they show does not stop them."""
        logits = self.problem.logits
        # some estimators look at pairs of samples
        at_once = max(1, CHUNK // (logits.numel() * setting.num_samples**2))
        parts, done = [], 0
        while done < count and (done < intervals.FEWEST or self.repetitions or time.perf_counter() < deadline):
            gradient, _ = self.estimate(setting, min(at_once, count - done))
            parts.append(self.problem.pulled(gradient))
            done += len(gradient)
        found = torch.cat(parts)
        bad = int((~found.isfinite()).any(1).sum())
        if bad:
            raise NotFinite(f"gave infinities or NaN in {bad} of {done} repetitions")
        return intervals.moments(found, self.exact)

    def estimate(self, setting: Setting, count: int) -> tuple[Tensor, Estimate]:
        """Gradients for the logits `[count, *logits.shape]`, each by its own noise, and the estimate they came of."""
        problem = self.problem
        leaf = problem.logits.expand(count, *problem.logits.shape).clone().requires_grad_()
        context = problem.context
        with torch.enable_grad():
            estimate = setting.estimator(
                Repeated(problem),
                leaf,
                num_samples=setting.num_samples,
                event_dims=problem.event_dims,
                generator=self.generator,
                context=None if context is None else context.expand(count, *context.shape),
            )
            (gradient,) = torch.autograd.grad(estimate.value.sum(), leaf, retain_graph=True)
        return gradient, estimate

    def count(self, pilot: intervals.Moments, budget: float) -> int:
        """How many repetitions: what the precision needs, as memory and the time for their statistics allow."""
        if self.repetitions is not None:
            return self.repetitions
        size = len(self.exact)
        count = max(intervals.FEWEST, math.ceil(min(intervals.repetitions_needed(pilot, self.precision), MOST / size)))
        while count > intervals.FEWEST and _statistics_seconds(count, size) > budget / 2:
            count = max(intervals.FEWEST, count // 2)
        return count

    def seconds_of(self, setting: Setting, budget: float) -> float:
        """Forward and backward of one batch of the real thing."""
        # it makes as many calls as it has time for: with torch's own noise it does not move that of the estimates
        step, device = self.problem.step, self.problem.device
        return seconds_of(lambda: step(setting.estimator, setting.num_samples), device, budget)

    def row(self, setting: Setting, m: intervals.Moments, seconds: float) -> Row:
        """The figures of a setting."""
        low, high = intervals.bias_interval(m)
        limit = intervals.bias_limit(m, intervals.BIASED_LEVEL)
        bias, scale = intervals.bias(m), intervals.scale_interval(m)
        along = m.along
        if math.sqrt(m.deviation) <= self.rounding and m.trace <= self.rounding**2:
            low = high = limit = bias = along = 0.0
            scale = 0.0, 0.0
        squared = m.square_error - m.trace
        evaluations, cost = self.evaluations(setting)
        whole = self.problem.table.shape[-1]

        def averaged(share: float) -> float:
            return max(0.0, squared + m.trace * share)

        estimator = setting.estimator
        return Row(
            estimator=estimator.name,
            num_samples=setting.num_samples,
            temperature=setting.temperature,
            options=setting.options,
            unbiased="logits" in estimator.unbiased,
            relative_bias=bias,
            relative_bias_low=low,
            relative_bias_high=high,
            biased=limit > self.rounding,
            relative_scale=along,
            relative_scale_low=scale[0],
            relative_scale_high=scale[1],
            cosine=intervals.cosine(m),
            relative_std=math.sqrt(m.trace),
            relative_mse=m.square_error,
            relative_mse_rescaled=intervals.rescaled_error(m),
            relative_mse_equal_evaluations=averaged(cost / whole),
            relative_mse_equal_time=averaged(seconds / self.exact_seconds),
            evaluations=evaluations,
            evaluations_at_most=self.at_most(setting, evaluations),
            cost=cost,
            seconds=seconds,
            repetitions=m.repetitions,
            own=setting.own,
        )

    def evaluations(self, setting: Setting) -> tuple[float, float]:
        """Distinct categories evaluated an example, and what they cost, on average over some repetitions."""
        problem = self.problem
        count = max(1, COUNTED // max(problem.logits.numel(), COUNTED // 1024))
        info = self.estimate(setting, count)[1].info
        evaluations = float(info.evaluations.double().mean())
        if problem.costs is None or problem.event_dims or info.index is None or setting.estimator.calls != {"index"}:
            return evaluations, evaluations
        asked = torch.zeros(*info.index.shape[1:], problem.num_categories + 1, dtype=torch.bool)
        # one column more takes what is not asked for
        asked.scatter_(-1, info.index.cpu().movedim(0, -1) % (problem.num_categories + 1), True)
        return evaluations, float((asked[..., :-1] * problem.costs.cpu()).sum(-1).mean())

    def at_most(self, setting: Setting, measured: float) -> int:
        """The most categories that an example can come to."""
        if self.problem.event_dims:  # what an estimator states is for one latent
            return max(math.ceil(measured), setting.num_samples if setting.estimator.calls == {"index"} else 1)
        return setting.most_evaluations(self.problem.num_categories)


def _statistics_seconds(count: int, size: int) -> float:
    """About what the moments of so many repetitions take."""
    least = min(count, size)
    return 1e-10 * count * size * least + 5e-10 * least**3


def make_bench(problem: Problem, precision: float, repetitions: int | None, seed: int) -> Bench:
    """A problem made ready for measurements."""
    exact = problem.exact()
    took = seconds_of(lambda: problem.step(Enumeration(), 1), problem.device)
    bench = Bench(problem, exact, took, 0.0, precision, repetitions, seed)
    # what enumeration in the problem's own type differs from the exact gradient is rounding
    again = bench.estimate(Setting(Enumeration(), {}, 1, warm=True), 1)[0]
    error = (problem.pulled(again)[0].double() - exact).abs().max() / exact.abs().max()
    bench.rounding = 4 * float(error) + 100 * torch.finfo(problem.logits.dtype).eps
    return bench
