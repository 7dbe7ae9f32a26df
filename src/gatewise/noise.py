"""Random draws from categoricals, in log space.

All noise is drawn in float32 at least, whatever the type of the logits: in bfloat16 the 256 levels of a uniform
bias the draws visibly. Logits may be masked with -inf.
"""

import torch
from torch import Tensor


def working_dtype(dtype: torch.dtype) -> torch.dtype:
    """The type noise is drawn in: float64 for float64, float32 for everything narrower."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def exponential(shape: torch.Size | tuple[int, ...], like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Exp(1) noise of `shape`, on the device of `like`, strictly positive."""
    dtype = working_dtype(like.dtype)
    noise = like.new_empty(shape, dtype=dtype).exponential_(generator=generator)
    return noise.clamp_min(torch.finfo(dtype).tiny)


def gumbel(shape: torch.Size | tuple[int, ...], like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Standard Gumbel noise of `shape`, on the device of `like`: -log E with E ~ Exp(1)."""
    return -exponential(shape, like, generator).log()


def perturbed(logits: Tensor, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
    """log softmax(logits) + Gumbel noise, `[S, *logits.shape]`, in the working type.

    The normalised logits keep the noise's precision at any scale: the likely categories sit near 0.
    """
    log_probs = logits.to(working_dtype(logits.dtype)).log_softmax(-1)
    return log_probs + gumbel((num_samples, *logits.shape), logits, generator)


def categorical(logits: Tensor, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
    """S independent draws from softmax(logits): int64 `[S, *logits.shape[:-1]]`, by the Gumbel-max trick."""
    return perturbed(logits.detach(), num_samples, generator).argmax(-1)
