"""Random draws from categoricals, in log space.

All noise is drawn in float32 at least, whatever the type of the logits: in bfloat16 the 256 levels of a uniform
bias the draws visibly. Logits may be masked with -inf.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gatewise.precision import widened, working_dtype

FEW = 1024
"""Up to so many numbers the calls cost more than the numbers do, on CPU."""

Shape = torch.Size | tuple[int, ...]
"""What a tensor of noise is asked for: its sizes, as torch takes them."""


class SharedGenerator(torch.Generator):
    """A source of noise that several processes draw from alike, so that together they draw what one would alone.

    Each process makes it from the same seed, draws the noise for all rows of a batch, and keeps that of its own.

    Attributes:
        first: the first of this process's rows.
        total: rows of the batch over all processes.

    >>> import torch
    >>> import gatewise as gw
    >>> from gatewise.noise import SharedGenerator, exponential
    >>> rank = SharedGenerator()  # of a process that has rows 2 and 3 of 4
    >>> rank.first, rank.total = 2, 4
    >>> own, whole = exponential((1, 2, 3), torch.zeros(2, 3), rank.manual_seed(0)), torch.Generator().manual_seed(0)
    >>> torch.equal(own, exponential((1, 4, 3), torch.zeros(4, 3), whole)[:, 2:])
    True
    """

    first: int = 0
    total: int = 0


class TiltedGenerator(torch.Generator):
    """A source of noise that changes the exponentials drawn from it: importance sampling.

    >>> import torch
    >>> from gatewise.noise import TiltedGenerator, exponential
    >>> class Late(TiltedGenerator):
    ...     def tilted(self, noise, like, rows_dim, race):
    ...         return noise + 100
    >>> bool((exponential((1, 2), torch.zeros(2), Late()) > 100).all())
    True
    """

    def tilted(self, noise: Tensor, like: Tensor, rows_dim: int, race: bool) -> Tensor:
        """The noise that is used in the place of `noise`; see `exponential`.

        `race`: noise / softmax(`like`) are the times of a race, whose first is drawn. Else it may serve anything.
        """
        return noise


def exponential(
    shape: Shape, like: Tensor, generator: torch.Generator | None = None, rows_dim: int = 1, race: bool = False
) -> Tensor:
    """Exp(1) noise of `shape`, on the device of `like`, strictly positive.

    Args:
        shape: of the noise.
        like: says type and device; the logits that the noise is for, for a `TiltedGenerator`.
        generator: the source of the noise.
        rows_dim: the dimension of `shape` that counts the rows of a batch, for a `SharedGenerator`.
        race: see `TiltedGenerator`.

    >>> import torch
    >>> import gatewise as gw
    >>> noise = gw.noise.exponential((4, 1000), torch.zeros(1000), torch.Generator().manual_seed(0))
    >>> noise.shape, bool((noise > 0).all())
    (torch.Size([4, 1000]), True)
    """
    noise = _of_own_rows(shape, rows_dim, generator, lambda shape: _exponential(shape, like, generator))
    return generator.tilted(noise, like, rows_dim, race) if isinstance(generator, TiltedGenerator) else noise


def _exponential(shape: Shape, like: Tensor, generator: torch.Generator | None) -> Tensor:
    dtype = working_dtype(like.dtype)
    if like.is_cpu and math.prod(shape) > FEW:
        # exponential_ takes three times as long; in float64, because float32 uniforms are too coarse near 0 and 1
        # from 2^-55 on, which changes the largest of them, 1 - 2^-53, and with it the smallest exponential, not at all
        uniform = like.new_empty(shape, dtype=torch.float64).uniform_(2.0**-55, 1.0, generator=generator)
        return uniform.log_().to(dtype).neg_()
    noise = like.new_empty(shape, dtype=dtype).exponential_(generator=generator)
    return noise.clamp_min_(torch.finfo(dtype).tiny)


def _of_own_rows(
    shape: Shape, rows_dim: int, generator: torch.Generator | None, draw: Callable[[Shape], Tensor]
) -> Tensor:
    """Noise of `shape`: from a shared generator, what belongs to this process's rows of that for all."""
    if not isinstance(generator, SharedGenerator):
        return draw(shape)
    whole = draw((*shape[:rows_dim], generator.total, *shape[rows_dim + 1 :]))
    return whole.narrow(rows_dim, generator.first, shape[rows_dim])


def gumbel(shape: Shape, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Standard Gumbel noise of `shape`, on the device of `like`: -log E with E ~ Exp(1).

    >>> import torch
    >>> import gatewise as gw
    >>> gw.noise.gumbel((2, 3), torch.zeros(3), torch.Generator().manual_seed(0)).shape
    torch.Size([2, 3])
    """
    return exponential(shape, like, generator).log_().neg_()


def perturbed(logits: Tensor, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
    """Logits + Gumbel noise, `[S, *logits.shape]`, in the working type, with the highest of the logits moved to 0.

    A softmax or an argmax does not see the move, and so the likely categories keep the noise's precision at any scale.

    >>> import torch
    >>> import gatewise as gw
    >>> gw.noise.perturbed(torch.tensor([[0.0, -torch.inf]]), 1000).argmax(-1).unique().tolist()
    [0]
    """
    # with a dimension of samples from the start: a sum over it in the backward pass would cost more than this
    wide = widened(logits).unsqueeze(0)
    shifted = wide - wide.detach().amax(-1, keepdim=True)
    return shifted - exponential((num_samples, *logits.shape), logits, generator, race=True).log_()


def categorical(logits: Tensor, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
    """S independent draws from softmax(logits): int64 `[S, *logits.shape[:-1]]`.

    By the inverse of the cumulated probabilities, summed in float64: one random number a draw, and not one a category.
    Where there are few, by a race, which is fewer calls: who arrives at rate π_i comes first with probability π_i. So
    too from a `TiltedGenerator`, which changes exponentials.

    >>> import torch
    >>> import gatewise as gw
    >>> logits = torch.tensor([0.9, 0.1]).log()
    >>> draws = gw.noise.categorical(logits, 100_000, torch.Generator().manual_seed(0))
    >>> draws.shape, round(draws.float().mean().item(), 2)
    (torch.Size([100000]), 0.1)
    """
    probs = widened(logits.detach()).softmax(-1)
    rows = generator.total if isinstance(generator, SharedGenerator) else len(logits)
    count = rows * logits[:1].numel()
    race = num_samples * count <= FEW or isinstance(generator, TiltedGenerator)
    if race or logits.is_mps:  # which has no float64
        return (probs / exponential((num_samples, *logits.shape), logits, generator, race=True)).argmax(-1)
    cumulated = probs.cumsum(-1, dtype=torch.float64)

    def draw(shape: Shape) -> Tensor:
        # strictly below 1, so that what is drawn has some mass
        return cumulated.new_empty(shape).uniform_(0, 1 - 2.0**-50, generator=generator)

    uniform = _of_own_rows((*logits.shape[:-1], num_samples), 0, generator, draw)
    index = torch.searchsorted(cumulated, uniform * cumulated[..., -1:], right=True)
    # where the logits are not numbers it lies beyond the last category: the value shows that, and no index fails
    return index.clamp_max_(logits.shape[-1] - 1).movedim(-1, 0)


def without_replacement(logits: Tensor, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
    """min(S, K) different categories in the order drawn without replacement, by the Gumbel-top-k trick.

    Int64 `[min(S, K), *logits.shape[:-1]]`; -1 where no category of positive probability is left.

    >>> import torch
    >>> import gatewise as gw
    >>> index = gw.noise.without_replacement(torch.tensor([0.0, 0.0, -torch.inf]), 3)
    >>> sorted(index.tolist())  # two categories are possible, and no third
    [-1, 0, 1]
    """
    logits = logits.detach()
    # where all are masked the normalised logits are not numbers
    noisy = torch.where(logits > -torch.inf, perturbed(logits, 1, generator).squeeze(0), -torch.inf)
    highest, index = noisy.topk(min(num_samples, logits.shape[-1]), dim=-1)
    return torch.where(highest == -torch.inf, -1, index).movedim(-1, 0)


def conditional_perturbed(
    log_probs: Tensor,
    order: Tensor,
    num_samples: int,
    generator: torch.Generator | None = None,
    rows_dim: int = 0,
) -> Tensor:
    """`log_probs` + Gumbel noise, conditioned on which categories came out highest, and in which order.

    Args:
        log_probs: `[*batch, K]`, normalised (log_softmax), in the working type; differentiable.
        order: the k highest categories, highest first, all of positive probability: int64 `[k, *batch]`.
            k = 1 conditions on the argmax.
        num_samples: M independent copies of the noise.
        generator: the source of the noise.
        rows_dim: the dimension of `log_probs` that counts the rows of a batch, for a `SharedGenerator`.

    Returns:
        `[M, *batch, K]`. With x = -log t, the t are arrival times: the first is Exp(1), the (j + 1)-th comes
        Exp(mass of what is left) later, and all that are not in `order` come after its last, each at its own rate.

    >>> import torch
    >>> import gatewise as gw
    >>> log_probs = torch.zeros(5).log_softmax(-1)
    >>> noisy = gw.noise.conditional_perturbed(log_probs, torch.tensor([3, 1]), num_samples=100)
    >>> noisy.topk(2).indices.unique(dim=0).tolist()  # 3 came out highest, and 1 next
    [[3, 1]]
    """
    noise = exponential((num_samples, *log_probs.shape), log_probs, generator, 1 + rows_dim).log()
    chosen = order.movedim(0, -1)
    # exponential waits have no memory: when one has arrived the rest race on as if from the start, at the rates left
    log_times = [noise.gather(-1, chosen[..., :1].expand(num_samples, *order.shape[1:], 1))]
    left = log_probs
    for j in range(1, len(order)):
        left = left.scatter(-1, chosen[..., j - 1 : j], -torch.inf)
        later = noise.gather(-1, chosen[..., j : j + 1].expand(num_samples, *order.shape[1:], 1))
        log_times.append(torch.logaddexp(log_times[-1], later - left.logsumexp(-1, keepdim=True)))
    possible = log_probs > -torch.inf
    # masked before the subtraction: the gradient of an infinite difference would be a NaN
    waits = noise - torch.where(possible, log_probs, 0.0)
    times = torch.logaddexp(log_times[-1], waits)
    every = chosen.expand(num_samples, *chosen.shape)
    times = times.scatter(-1, every, torch.cat(log_times, -1))
    return torch.where(possible, -times, -torch.inf)
