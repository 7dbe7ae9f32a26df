"""The bench: an estimator, repeated, beside the exact gradient."""

import math
import time
from dataclasses import dataclass, field
from zlib import crc32

import torch
from torch import Tensor

from gatewise.auditing import statistics
from gatewise.auditing.exact import Exact, exact_gradient
from gatewise.auditing.grid import Setting
from gatewise.auditing.importance_sampling import ImportanceGenerator, importance
from gatewise.auditing.problem import Problem, Repeated
from gatewise.auditing.rare_categories import Asked, Sample
from gatewise.auditing.row import Row
from gatewise.auditing.timing import seconds_of
from gatewise.estimators import Enumeration
from gatewise.expectation import Estimate
from gatewise.outcomes import joint_log_probs

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
FEWEST_RARE = 512
"""Repetitions where rare categories carry much of the gradient, at least."""
MOST = 2**24
"""Numbers of gradients that are held at once."""


class NotFinite(Exception):
    """An estimator gave infinities or NaN; the text says how often."""


@dataclass
class Bench:
    """A problem with all that its measurements share.

    Attributes:
        problem: what is measured on.
        exact: its exact gradient.
        exact_seconds: forward and backward by enumeration.
        precision: the half width that the intervals are to have.
        repetitions: R for every setting; None to decide it by a pilot.
        seed: of the noise.
        learned: whether an estimator has learned something before it was measured.
    """

    problem: Problem
    exact: Exact
    exact_seconds: float
    precision: float
    repetitions: int | None
    seed: int
    learned: bool = False
    generator: ImportanceGenerator = field(init=False)

    def __post_init__(self) -> None:
        problem = self.problem
        log_probs = joint_log_probs(problem.logits, problem.event_dims)
        self.generator = ImportanceGenerator(problem.logits.device)
        self.generator.shares = importance(problem.table, log_probs)

    @property
    def size(self) -> int:
        """D, numbers of the gradient."""
        return len(self.exact.direction)

    @property
    def fewest(self) -> int:
        """Repetitions, where nobody says how many."""
        return statistics.FEWEST if self.generator.shares is None else FEWEST_RARE

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
        pilot = self.sample(setting, min(max(CHUNK // self.size // 2, PILOT[0]), PILOT[1]))
        seconds = self.seconds_of(setting, budget / 5)
        left = deadline - time.perf_counter()
        count = self.count(pilot, left)
        found = self.sample(setting, count, deadline - _statistics_seconds(count, self.size))
        return self.row(setting, found, seconds)

    def warm_up(self, setting: Setting, deadline: float) -> None:
        """Let an estimator that was made anew learn its baseline and control variate on this problem."""
        estimator = setting.estimator
        learned = [p for p in estimator.parameters() if p.requires_grad]
        if setting.warm or not (learned or list(estimator.buffers())):
            return
        self.learned = True
        estimator.train()
        optimiser = torch.optim.Adam(learned, lr=0.01) if learned else None
        for step in range(WARM_UP):
            if step >= WARM_UP // 10 and time.perf_counter() > deadline and self.repetitions is None:
                break
            _, _, estimate = self.estimate(setting, max(1, WARM_EXAMPLES // self.problem.examples))
            if optimiser is not None and estimate.control_loss is not None:
                optimiser.zero_grad()
                estimate.control_loss.backward()
                optimiser.step()

    def sample(self, setting: Setting, count: int, deadline: float = math.inf) -> Sample:
        """`count` repetitions, or as many as there is time for: what they show does not stop them."""
        problem, exact = self.problem, self.exact
        # some estimators look at pairs of samples
        at_once = max(1, CHUNK // (problem.logits.numel() * setting.num_samples**2))
        watched = None if self.generator.shares is None else Asked(problem, setting.num_samples)
        away = exact.direction.new_empty((count, self.size))
        squares = away.new_empty(count)
        done = bad = 0
        weighed = False
        while done < count and (done < self.fewest or self.repetitions or time.perf_counter() < deadline):
            gradient, weights, _ = self.estimate(setting, min(at_once, count - done), watched)
            bad += int((~gradient.flatten(1).isfinite()).any(1).sum())
            part = slice(done, done + len(gradient))
            away[part], squares[part] = self.deviations(gradient.detach(), weights)
            weighed, done = weighed or weights is not None, part.stop
        if bad:
            raise NotFinite(f"gave infinities or NaN in {bad} of {done} repetitions")
        if not bool(squares[:done].isfinite().all()):
            raise NotFinite("gave estimates so long, beside the gradient, that their squares are not finite numbers")
        moments = statistics.moments(away[:done], exact.direction, squares[:done] if weighed else None)
        if watched is None:
            return Sample(moments)
        careful = statistics.cautious(moments)
        return Sample(careful, weighed=True) if weighed else watched.judged(careful, exact)

    def deviations(self, gradient: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
        """Weight times ĝ - g, `[R, D]`, in units of ‖g‖, and numbers `[R]` with the mean E ‖ĝ - g‖².

        Rows are independent, so that the square of their sum is, but for the means, the sum of their squares: signs
        drawn for each row give that without taking the rows apart. Weighed once it is that of the estimates; weighed
        twice, that of what is pulled.
        """
        problem, exact = self.problem, self.exact
        away = (gradient.double() - exact.by_logits) / exact.unit
        if weights is None:
            found = problem.pulled(away).detach().double() / exact.length
            return found, found.square().sum(1)
        weights = weights.view(*weights.shape, *[1] * (away.dim() - weights.dim()))
        found = problem.pulled(weights * away).detach().double() / exact.length
        signs = torch.randint(2, weights.shape, generator=self.generator, device=away.device).mul_(2).sub_(1) * away
        once, twice = (problem.pulled(weights**power * signs).detach().double() / exact.length for power in (0.5, 1.0))
        return found, found.square().sum(1) + once.square().sum(1) - twice.square().sum(1)

    def estimate(
        self, setting: Setting, count: int, watched: Asked | None = None
    ) -> tuple[Tensor, Tensor | None, Estimate]:
        """Gradients for the logits `[count, *logits.shape]`, each by its own noise, their weights, and the estimate.

        Args:
            setting: whose.
            count: of the copies.
            watched: where importance sampling helps, what the copies ask for is counted there; None: the noise is as
                it comes.
        """
        problem = self.problem
        leaf = problem.logits.expand(count, *problem.logits.shape).clone().requires_grad_()
        context = problem.context
        # what is weighed is a row, and it must not hang on other rows
        self.generator.start(0 if watched is None or setting.estimator.whole_batch else count)
        with torch.enable_grad():
            estimate = setting.estimator(
                Repeated(problem, asked=None if watched is None else watched.counts),
                leaf,
                num_samples=setting.num_samples,
                event_dims=problem.event_dims,
                generator=self.generator,
                context=None if context is None else context.expand(count, *context.shape),
            )
            (gradient,) = torch.autograd.grad(estimate.value.sum(), leaf, retain_graph=True)
        return gradient, self.generator.weights(), estimate

    def count(self, pilot: Sample, budget: float) -> int:
        """How many repetitions: what the precision needs, as memory and the time for their statistics allow."""
        if self.repetitions is not None:
            return self.repetitions
        size = self.size
        count = max(
            self.fewest, math.ceil(min(statistics.repetitions_needed(pilot.moments, self.precision), MOST / size))
        )
        if self.generator.shares is not None and not pilot.weighed:
            count = max(count, pilot.moments.repetitions)  # fewer would see fewer of what is rare
        while count > self.fewest and _statistics_seconds(count, size) > budget / 2:
            count = max(self.fewest, count // 2)
        return count

    def seconds_of(self, setting: Setting, budget: float) -> float:
        """Forward and backward of one batch of the real thing."""
        # it makes as many calls as it has time for: with torch's own noise it does not move that of the estimates
        step, device = self.problem.step, self.problem.device
        return seconds_of(lambda: step(setting.estimator, setting.num_samples), device, budget)

    def row(self, setting: Setting, sample: Sample, seconds: float) -> Row:
        """The figures of a setting."""
        m, estimator = sample.moments, setting.estimator
        rounding = self.exact.rounding["point" in estimator.calls]
        low, high = statistics.bias_interval(m)
        limit = statistics.bias_limit(m, statistics.BIASED_LEVEL)
        bias, scale = statistics.bias(m), statistics.scale_interval(m)
        # without variance all three are one number, but for its last digits
        low, high = max(0.0, min(low, bias) - rounding), max(high, bias) + rounding
        along = m.along
        if math.sqrt(m.deviation) <= rounding and m.trace <= rounding**2:
            low = high = limit = bias = along = 0.0
            scale = 0.0, 0.0
        squared = m.square_error - m.spread
        evaluations, cost = self.evaluations(setting)
        whole = self.problem.table.shape[-1]

        def averaged(share: float) -> float:
            return max(0.0, squared + m.spread * share)

        error, half = statistics.error_half_width(m), statistics.rescaled_half_width(m)
        rescaled = statistics.rescaled_error(m)
        return Row(
            estimator=estimator.name,
            num_samples=setting.num_samples,
            temperature=setting.temperature,
            options=setting.options,
            unbiased="logits" in estimator.unbiased,
            relative_bias=bias,
            relative_bias_low=low,
            relative_bias_high=high,
            biased=limit > rounding,
            relative_scale=along,
            relative_scale_low=scale[0],
            relative_scale_high=scale[1],
            cosine=statistics.cosine(m),
            relative_std=math.sqrt(m.spread),
            relative_mse=m.square_error,
            relative_mse_low=max(0.0, m.square_error - error),
            relative_mse_high=m.square_error + error,
            relative_mse_rescaled=rescaled,
            relative_mse_rescaled_low=max(0.0, rescaled - half),
            relative_mse_rescaled_high=min(1.0, rescaled + half),
            relative_mse_equal_evaluations=averaged(cost / whole),
            relative_mse_equal_time=averaged(seconds / self.exact_seconds),
            evaluations=evaluations,
            evaluations_at_most=self.at_most(setting, evaluations),
            cost=cost,
            seconds=seconds,
            repetitions=m.repetitions,
            own=setting.own,
            weighed=sample.weighed,
            unseen_probability=sample.unseen_probability,
            caution=sample.caution(high),
        )

    def evaluations(self, setting: Setting) -> tuple[float, float]:
        """Distinct categories evaluated an example, and what they cost, on average over some repetitions."""
        problem = self.problem
        count = max(1, COUNTED // max(problem.logits.numel(), COUNTED // 1024))
        info = self.estimate(setting, count)[2].info
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
    exact = exact_gradient(problem)
    took = seconds_of(lambda: problem.step(Enumeration(), 1), problem.device)
    return Bench(problem, exact, took, precision, repetitions, seed)
