"""Experts as a mixture runs them: all of them on every row, or each on the rows sent to it."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from gatewise.errors import GatewiseError, check_kind
from gatewise.mixture.eval_mode import FrozenInEval
from gatewise.mixture.grouped.dispatch import Dispatch
from gatewise.mixture.masks import attached, blind, chosen, unmasked, without_gradient


class Experts(nn.Module, ABC):
    """Base of all sets of K experts.

    Attributes:
        num_experts: K.
        collective: whether several processes run them together, so that each must run them as often as the others,
            whatever rows it has.
        takes_mask: whether `forward(x, possible)` can be told which answers are dropped, and keeps a gradient of 0 from
            becoming NaN on the way back through an expert that is masked. A subclass of such experts whose own
            `forward` takes x alone says False.

    >>> import torch
    >>> import gatewise as gw
    >>> experts = gw.MLPBank(8, in_features=64, hidden=[16], out_features=10)
    >>> isinstance(experts, gw.mixture.Experts), experts.num_experts
    (True, 8)
    """

    num_experts: int
    collective: bool = False
    takes_mask: bool = False

    @property
    def whole_batch(self) -> bool:
        """Whether what an expert answers for a row depends on the other rows that it is given."""
        return False

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Outputs `[B, K, O]` of every expert on every row of x `[B, ...]`."""

    @abstractmethod
    def grouped(self, x: Tensor, counts: Sequence[int]) -> Tensor:
        """Outputs `[N, O]` for rows x `[N, ...]` sorted by expert: counts[k] consecutive rows for expert k."""

    def where(self, possible: Tensor, x: Tensor) -> Tensor:
        """Outputs `[B, K, O]` of the experts on the rows of x `[B, ...]` where `possible`, bool `[B, K]`; 0 elsewhere.

        What an expert would answer elsewhere, be it NaN, reaches nothing: its gradient there is 0 and not 0 · NaN.
        Where nothing is masked this is `forward`.
        """
        if self.whole_batch or blind(possible):
            return unmasked(possible, self(x, possible) if self.takes_mask else self(x))
        return self(x) if bool(possible.all()) else self.only_where(possible, x)

    def only_where(self, possible: Tensor, x: Tensor) -> Tensor:
        """As `where`, each expert run on its possible rows alone."""
        plan = self.plan(chosen(possible), x, distinct=True)
        return plan.spread(plan.run(self.grouped, x)).transpose(0, 1)

    def plan(self, index: Tensor, x: Tensor, *, distinct: bool = False) -> Dispatch:
        """How the rows of x `[B, ...]` travel to the experts that they ask for: see `Dispatch.plan`."""
        return Dispatch.plan(index, self.num_experts, distinct=distinct)


class ExpertList(FrozenInEval, Experts):
    """Any modules as experts: of different kinds, pretrained or frozen; all put out the same shape.

    An expert all of whose parameters are frozen (`requires_grad=False`), now or later, is kept in evaluation mode: its
    dropout stays off and its batch normalisation keeps its statistics while the rest trains.

    Args:
        experts: the modules, each `[N, ...] -> [N, O]`.

    Raises:
        GatewiseError: for no experts, or something that is not a module.

    >>> import torch
    >>> import gatewise as gw
    >>> experts = gw.ExpertList([torch.nn.Linear(4, 2), gw.mixture.mlp(4, [16], 2)])  # of different kinds
    >>> experts(torch.randn(5, 4)).shape
    torch.Size([5, 2, 2])
    """

    takes_mask = True

    def __init__(self, experts: Iterable[nn.Module]):
        super().__init__()
        if not isinstance(experts, Iterable):
            raise GatewiseError(f"experts must be a list of modules, got {type(experts).__name__}; put it into a list")
        modules = list(experts)
        if not modules:
            raise GatewiseError("a mixture needs at least 1 expert, got 0; pass a list of modules")
        for k, module in enumerate(modules):
            check_kind(module, nn.Module, f"expert {k}", "every expert must be a torch.nn.Module")
        self.members = nn.ModuleList(modules)
        self.num_experts = len(modules)
        self.set_frozen_to_eval()

    def freezable(self) -> Iterable[nn.Module]:
        """Each expert."""
        return self.members

    def forward(self, x: Tensor, possible: Tensor | None = None) -> Tensor:
        """Outputs `[B, K, O]`; where not `possible`, bool `[B, K]`, no gradient comes back to x.

        An expert that is masked on every row has a gradient of 0, but where nobody can look.
        """
        self.set_frozen_to_eval()
        outputs = {
            k: member(x) if possible is None else _answered(member, x, possible[:, k])
            for k, member in enumerate(self.members)
        }
        return torch.stack(_of_one_shape(outputs), dim=1)

    def grouped(self, x: Tensor, counts: Sequence[int]) -> Tensor:
        """Outputs `[N, O]`; an expert without rows is not run, but of no rows at all each gets none, and a gradient."""
        self.set_frozen_to_eval()
        self.refuse_batch_statistics()
        parts = enumerate(x.split(list(counts)))
        outputs = {k: self.members[k](rows) for k, rows in parts if len(rows) or not len(x)}
        return torch.cat(_of_one_shape(outputs))

    @property
    def whole_batch(self) -> bool:
        """With batch normalisation in training."""
        self.set_frozen_to_eval()
        return self._batch_norm() is not None

    def refuse_batch_statistics(self) -> None:
        """Raise GatewiseError for batch normalisation that would see only the rows routed to an expert."""
        if (found := self._batch_norm()) is not None:
            raise GatewiseError(
                f"{found}, whose statistics would come from only the rows routed to it; use LayerNorm or GroupNorm, "
                "move it into the shared trunk, freeze the expert, or run every expert on every row, as the marginal "
                "and the enumeration estimator do"
            )

    def _batch_norm(self) -> str | None:
        """The first expert in which batch normalisation takes its statistics from the rows that it is given."""
        for k, member in enumerate(self.members):
            for name, module in member.named_modules():
                of_the_batch = module.training or not getattr(module, "track_running_stats", True)
                if isinstance(module, nn.modules.batchnorm._BatchNorm) and of_the_batch:
                    return f"expert {k} has batch normalisation ({name or type(module).__name__})"
        return None


def _of_one_shape(outputs: dict[int, Tensor]) -> list[Tensor]:
    """The outputs of some experts; raises GatewiseError where their rows differ in shape."""
    if len({output.shape[1:] for output in outputs.values()}) > 1:
        described = ", ".join(f"expert {k}: {list(output.shape[1:])}" for k, output in outputs.items())
        raise GatewiseError(f"all experts must put out the same shape a row; got {described}")
    return list(outputs.values())


def _answered(member: nn.Module, x: Tensor, possible: Tensor) -> Tensor:
    """Outputs `[B, O]` of an expert on all rows, of which some bool `[B]` are possible."""
    if blind(possible) or not len(x) or bool(possible.any()):
        return member(without_gradient(~possible.view(-1, *[1] * (x.dim() - 1)), x))
    with torch.no_grad():
        outputs = member(x)
    return attached(outputs, [x, *member.parameters()]) if torch.is_grad_enabled() else outputs
