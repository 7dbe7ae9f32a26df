"""Importance sampling: rare categories are drawn more often, and what is drawn is weighed accordingly.

A category of probability 1e-4 that carries half of a gradient is in none of 4,096 draws most of the time. Their mean is
then off, and their spread does not show it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from gatewise.noise import TiltedGenerator

RARE = 0.25
"""Categories below this probability may be drawn more often."""
HEAVY = 4.0
"""Beyond this kurtosis of the score function they are: a normal variable has 3, one rare category the more."""
PLAIN = 0.3
"""The share of draws that are as always, so that no weight is above 1/PLAIN."""
SPEEDS = (2.0, 0.5, 0.1)
"""Times the rate at which a category wins as often as not: it may win late too, and has a large weight then."""
FASTEST = 1e20
"""Times that a number of noise is sped up, at most."""
TRIED = 3
"""Categories whose rates are tried on every number of noise, where nobody knows which number draws a category."""


class ImportanceGenerator(TiltedGenerator):
    """Noise under which rare categories win more often, with the weights that make up for it.

    In each repetition each row draws as always with probability `PLAIN`; otherwise some of its noise is changed so that
    a rare category is likely to win. Its weight is the density of its noise as it is over that of this mixture, at most
    1/`PLAIN`. So the mean of weight times anything that depends on the row's noise alone is the mean without all this.

    Attributes:
        shares: `[*batch, N]`, how much each outcome matters; None: nothing is changed.
        calls: how often an estimate asks for noise; one call of each row is changed.
        turn: which, `[count, *batch]`, -1 for none; None where nothing is to be changed.
        found: the densities of what was drawn over the plain ones, of each call.
    """

    shares: Tensor | None = None
    calls = 1
    turn: Tensor | None = None
    found: Sequence[Tensor] = ()

    def start(self, count: int) -> None:
        """An estimate of `count` repetitions begins; of 0: one that is as always."""
        self.found, self.turn = (), None
        if count and self.shares is not None:
            rows = (count, *self.shares.shape[:-1])
            changed = torch.rand(rows, generator=self, device=self.device) >= PLAIN
            turn = torch.randint(self.calls, rows, generator=self, device=self.device)
            self.turn = torch.where(changed, turn, -1)

    def weights(self) -> Tensor | None:
        """Of the estimate that was begun last, `[count, *batch]`; None where nothing was changed."""
        if not self.found:
            return None
        # a call that did not come is one that was not changed
        ratios = [*self.found[: self.calls], *[torch.ones_like(self.found[0])] * (self.calls - len(self.found))]
        weights = 1 / (PLAIN + (1 - PLAIN) * torch.stack(ratios).mean(0))
        self.calls = len(self.found)
        return weights

    def tilted(self, noise: Tensor, like: Tensor, rows_dim: int, race: bool) -> Tensor:
        """See `TiltedGenerator`."""
        if self.turn is None:
            return noise
        rows = self.turn.dim()
        if noise.shape[rows_dim : rows_dim + rows] != self.turn.shape or noise.shape[1:] != like.shape:
            return noise
        probs = like.detach().double().softmax(-1)
        shares = self.of_entries(probs)
        if not bool(shares.any()):
            return noise
        first, back = tuple(range(rows)), tuple(range(rows_dim, rows_dim + rows))

        def by_rows(tensor: Tensor) -> Tensor:
            moved = tensor.expand(noise.shape).movedim(back, first)
            return moved.reshape(*moved.shape[:rows], -1, moved.shape[-1])

        plain = by_rows(noise)
        proposal = _Proposal(by_rows(shares), by_rows(probs), race)
        change = (self.turn == len(self.found)) & proposal.open
        changed = torch.where(change[..., None, None], proposal.draw(plain, self), plain)
        self.found = [*self.found, torch.where(proposal.open, proposal.ratio(changed.double()), 1.0)]
        return changed.view(noise.movedim(back, first).shape).movedim(first, back)

    def of_entries(self, probs: Tensor) -> Tensor:
        """How often each entry of `[..., K]` is to be changed, relative to the others of its row."""
        rare = (probs > 0) & (probs < RARE)
        if self.shares is None or probs.shape[1:] != self.shares.shape:  # noise of each latent, or of samples
            return rare.double()
        wanted = torch.where(rare, self.shares, 0.0)
        # some of all, for what an estimator makes of them need not be what is thought
        return wanted / wanted.sum(-1, keepdim=True).clamp_min(1e-300) + 0.1 * rare / rare.sum(-1, True).clamp_min(1)


class _Proposal:
    """What becomes of the noise `[*rows, G, K]` of a row: G races of K, or numbers that may serve anything.

    A rare category is made to win, with half the probability in a race; or its number is Exp(rate) and no longer
    Exp(1), at a rate at which it is among the first; or, where it may serve anything, any number is, at the rates of
    the row's most important categories, at one end of the distribution or at the other: exp(-number) or 1 minus it.
    """

    def __init__(self, shares: Tensor, probs: Tensor, race: bool):
        self.probs, self.race, self.size = probs, race, probs.shape[-2:].numel()
        total = shares.sum((-1, -2), keepdim=True)
        self.open = total.squeeze((-1, -2)) > 0
        self.shares = torch.where(total > 0, shares / total, 0.0).flatten(-2)
        speeds = torch.tensor(SPEEDS, dtype=probs.dtype, device=probs.device)
        rates = ((1 - probs) / probs).clamp(1.0, FASTEST).flatten(-2)
        self.rates = (rates.unsqueeze(-1) * speeds).clamp_min(1.0)
        top = self.shares.topk(min(TRIED, self.size), dim=-1)
        # where fewer matter the first stands again
        chosen = torch.where(top.values > 0, top.indices, top.indices[..., :1])
        self.tried = (rates.gather(-1, chosen).unsqueeze(-1) * speeds).clamp_min(1.0).flatten(-2)

    def draw(self, noise: Tensor, generator: torch.Generator) -> Tensor:
        """One change of every row."""
        flat = noise.flatten(-2)
        entry = _picked(self.shares, generator)

        def one_of(count: int) -> Tensor:
            return torch.randint(count, entry.shape, generator=generator, device=noise.device)

        kind = torch.rand(entry.shape, generator=generator, device=noise.device)
        rate = self.rates.flatten(-2).gather(-1, entry * len(SPEEDS) + one_of(len(SPEEDS)))
        if self.race:
            sped = flat.scatter(-1, entry, (flat.gather(-1, entry) / rate).to(flat.dtype))
            return torch.where(kind < 0.5, self.won(noise, entry), sped).view(noise.shape)
        own = kind < 0.25
        rate = torch.where(own, rate, self.tried.gather(-1, one_of(self.tried.shape[-1])))
        entry = torch.where(own, entry, one_of(self.size))
        drawn = flat.gather(-1, entry).double() / rate
        drawn = torch.where(kind < 0.625, drawn, _other_end(drawn))
        return flat.scatter(-1, entry, drawn.to(flat.dtype)).view(noise.shape)

    def won(self, noise: Tensor, entry: Tensor) -> Tensor:
        """The noise, flattened, in which `entry` wins its race.

        When the first arrives and who it is are independent, and so is how much later the others come: it takes the
        winner's time, and the winner comes as much later as it did.
        """
        flat, probs = noise.flatten(-2), self.probs.flatten(-2)
        before = self.winners(noise).gather(-1, entry // noise.shape[-1])
        ours, theirs = flat.gather(-1, entry), flat.gather(-1, before)
        time = theirs / probs.gather(-1, before)
        ahead = (time * probs.gather(-1, entry)).to(flat.dtype)
        later = torch.where(before == entry, theirs, theirs + (ours - ahead).clamp_min(0)).to(flat.dtype)
        return flat.scatter(-1, before, later).scatter(-1, entry, torch.where(before == entry, ours, ahead))

    def winners(self, noise: Tensor) -> Tensor:
        """Who comes first in each race, `[*rows, G]`, as numbers of the flattened noise."""
        groups = torch.arange(noise.shape[-2], device=noise.device) * noise.shape[-1]
        return (noise / self.probs).argmin(-1) + groups

    def ratio(self, noise: Tensor) -> Tensor:
        """The density of the changed noise over the plain one's, `[*rows]`."""
        flat = noise.flatten(-2)
        own = (self.shares * _faster(flat.unsqueeze(-1), self.rates).mean(-1)).sum(-1)
        if self.race:
            first = self.winners(noise)
            won = (self.shares.gather(-1, first) / self.probs.flatten(-2).gather(-1, first)).sum(-1)
            return (own + won) / 2
        ends = (flat.unsqueeze(-1), _other_end(flat).unsqueeze(-1))
        wide = [_faster(end, self.tried.unsqueeze(-2)).mean((-1, -2)) for end in ends]
        return own / 4 + 3 / 8 * (wide[0] + wide[1])


def importance(table: Tensor, log_probs: Tensor) -> Tensor | None:
    """How much each outcome `[*batch, N]` adds to the gradient; None where draws as they come tell enough.

    The estimate of the score function when an outcome is drawn, f or f less its mean times the length of the score,
    stands for those of others.
    """
    probs = log_probs.exp()
    size = jumps(table, probs)
    second = (probs * size.square()).sum()
    heavy = bool((probs * size.square().square()).sum() > HEAVY * second.square())
    return probs * size if heavy else None


def jumps(table: Tensor, probs: Tensor) -> Tensor:
    """The length of the score function's estimate at every outcome `[*batch, N]`, in units of the largest |f|."""
    values = torch.where(probs > 0, table, 0.0).double()
    values = values / values.abs().amax().clamp_min(1e-300)
    away = values - (probs * values).sum(-1, keepdim=True)
    score = (1 - 2 * probs + probs.square().sum(-1, keepdim=True)).clamp_min(0).sqrt()
    return torch.where(probs > 0, torch.maximum(values.abs(), away.abs()) * score, 0.0)


def _picked(shares: Tensor, generator: torch.Generator) -> Tensor:
    """An entry of each row, `[*rows, 1]`, drawn by shares."""
    below = shares.cumsum(-1)
    uniform = torch.rand(below[..., :1].shape, dtype=below.dtype, generator=generator, device=below.device)
    return torch.searchsorted(below, uniform * below[..., -1:], right=True).clamp_max(shares.shape[-1] - 1)


def _faster(noise: Tensor, rates: Tensor) -> Tensor:
    """The density of Exp(rate) over that of Exp(1)."""
    return (rates.log() - (rates - 1) * noise).exp()


def _other_end(noise: Tensor) -> Tensor:
    """-log(1 - exp(-noise)): noise that is small where this is large, and as exponential."""
    return -torch.log(-torch.expm1(-noise))
