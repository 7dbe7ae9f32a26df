"""The mixture: log p(y|x) = log Σ_z p(y|z,x) p(z|x), with a gate p(z|x) and experts p(y|z,x)."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, distributions, nn

from gatewise.errors import GatewiseError, check_choice, check_kind
from gatewise.mixture.eval_mode import FrozenInEval
from gatewise.mixture.experts import ExpertList, Experts
from gatewise.mixture.heads import Categorical, DistributionHead, Head, widest
from gatewise.mixture.information import Uncertainty, routed_log_gate, split_entropy
from gatewise.mixture.masks import blind, chosen

ROUTES = ("mixture", "top1", "topk")


class MixtureOfExperts(FrozenInEval):
    """A gate and K experts, with a discrete choice between them that is never observed.

    A trunk, a gate, a bank or an expert all of whose parameters are frozen (`requires_grad=False`), now or later, is
    kept in evaluation mode while the rest trains: without dropout, without noise, with the statistics that it has.

    Args:
        gate: any module, `[B, ...] -> [B, K]`: the logits of p(z|x).
        experts: a bank (`MLPBank`, or any `Experts`), or a list of any modules `[B, ...] -> [B, C]`, of different
            kinds, pretrained or frozen.
        trunk: a module that x passes first, shared by gate and experts.
        head: what the experts' outputs mean; the default is `Categorical()`: logits of C classes.

    Every method takes x `[B, ...]` and, where gate and experts look at different inputs, `gate_x` `[B, ...]` for the
    gate alone (it does not pass the trunk).

    Raises:
        GatewiseError: for no experts, or a gate whose output does not have one column an expert.

    >>> import torch
    >>> import gatewise as gw
    >>> mixture = gw.MixtureOfExperts(torch.nn.Linear(4, 3), gw.MLPBank(3, 4, (), 2))  # 3 experts, 2 classes
    >>> x, y = torch.randn(5, 4), torch.tensor([0, 1, 0, 1, 1])
    >>> mixture.log_prob(x, y).shape, mixture.gate_proba(x).shape, mixture.posterior(x, y).shape
    (torch.Size([5]), torch.Size([5, 3]), torch.Size([5, 3]))
    >>> mixture.predict_proba(x).sum(-1).round(decimals=4).tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0]
    """

    def __init__(
        self,
        gate: nn.Module,
        experts: Experts | Iterable[nn.Module],
        *,
        trunk: nn.Module | None = None,
        head: Head | None = None,
    ):
        super().__init__()
        check_kind(gate, nn.Module, "gate", "such as torch.nn.Linear(features, number of experts)")
        self.gate = gate
        self.experts = experts if isinstance(experts, Experts) else ExpertList(experts)
        self.trunk = trunk
        self.head = head if head is not None else Categorical()
        self.set_frozen_to_eval()

    def freezable(self) -> Iterable[nn.Module]:
        """Trunk and gate; experts see to themselves."""
        return (part for part in (self.trunk, self.gate) if part is not None)

    @property
    def num_experts(self) -> int:
        """K."""
        return self.experts.num_experts

    def features(self, x: Tensor) -> Tensor:
        """What the experts see of x, `[B, ...]`: the trunk's output, where there is one."""
        self.set_frozen_to_eval()
        return x if self.trunk is None else self.trunk(x)

    def read(self, x: Tensor, gate_x: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What the experts see, `[B, ...]`, and the gate's logits, `[B, K]`, in float32 at least."""
        features = self.features(x)
        logits = self.gate(features if gate_x is None else gate_x)
        if logits.shape != (len(x), self.num_experts):
            raise GatewiseError(
                f"the gate put out shape {list(logits.shape)} for {len(x)} rows and {self.num_experts} experts; "
                f"it must be [{len(x)}, {self.num_experts}]"
            )
        # as the head does: the softmax of bfloat16 sums to 1 only within 1 %
        return features, logits if logits.dtype.itemsize >= 4 else logits.float()

    def outputs(self, features: Tensor, logits: Tensor) -> Tensor:
        """What the experts put out, `[B, K, O]`, for what `read` gives; 0 where the gate masks one by a logit of -inf.

        It is not run there, or without a gradient, so that what it would answer, be it NaN, reaches nothing.
        """
        return self.experts.where(logits > -torch.inf, features)

    def observe(self, x: Tensor, y: Tensor, *, gate_x: Tensor | None = None) -> "Observed":
        """The mixture at given x and y `[B]`: the integrand f(z) = log p(y|z,x), and the gate's logits.

        For a head of several labels y is `[B, L]`.
        """
        labels = getattr(self.head, "event_dims", 0)
        if y.shape[:1] != x.shape[:1] or y.dim() != 1 + labels:
            wanted = f"[{len(x)}, L], the labels of each" if labels else f"[{len(x)}], one target a"
            raise GatewiseError(f"y must have shape {wanted} row of x, got {list(y.shape)}")
        features, logits = self.read(x, gate_x)
        return Observed(self, features, logits, y)

    def log_prob(self, x: Tensor, y: Tensor, *, gate_x: Tensor | None = None) -> Tensor:
        """log p(y|x), `[B]`, exact: the log-sum-exp over all experts."""
        return self.observe(x, y, gate_x=gate_x).log_prob()

    def posterior(self, x: Tensor, y: Tensor, *, gate_x: Tensor | None = None) -> Tensor:
        """p(z|x,y), `[B, K]`: each expert's responsibility for what was observed."""
        return self.observe(x, y, gate_x=gate_x).log_posterior().exp()

    def gate_proba(self, x: Tensor, *, gate_x: Tensor | None = None) -> Tensor:
        """p(z|x), `[B, K]`."""
        return self.read(x, gate_x)[1].softmax(-1)

    def expert_log_probs(self, x: Tensor, *, gate_x: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """log p(z|x), `[B, K]`, and log p(y|z,x) for every expert and class, `[B, K, C]`, masked or not."""
        features, logits = self.read(x, gate_x)
        return logits.log_softmax(-1), self.head.log_probs(self.experts(features))

    def forward(self, x: Tensor, *, gate_x: Tensor | None = None) -> Tensor:
        """log p(y|x) of every class under the whole mixture, `[B, C]`."""
        features, logits = self.read(x, gate_x)
        of_experts = self.head.log_probs(self.outputs(features, logits))
        return (logits.log_softmax(-1).unsqueeze(-1) + of_experts).logsumexp(1)

    def distribution(self, x: Tensor, *, gate_x: Tensor | None = None) -> distributions.MixtureSameFamily:
        """p(y|x) as a distribution with batch shape `[B]` in float64, which has a mean, a variance, samples, and so on.

        Raises:
            GatewiseError: for a head without `distribution`.
        """
        features, logits = self.read(x, gate_x)
        of_experts = self._distribution_head().distribution(self.outputs(features, logits))
        choice = distributions.Categorical(logits=widest(logits), validate_args=False)
        return distributions.MixtureSameFamily(choice, of_experts, validate_args=False)

    def predict_proba(self, x: Tensor, route: str = "mixture", k: int = 2, *, gate_x: Tensor | None = None) -> Tensor:
        """p(y|x), `[B, C]`; without gradient.

        Args:
            x: rows.
            route: "mixture" runs all experts, exact; "top1" runs the gate's argmax alone; "topk" runs the gate's k
                most likely, with their probabilities renormalised.
            k: for "topk".
            gate_x: the gate's own input.

        Raises:
            GatewiseError: for an unknown route, or a k outside 1..K.
        """
        self.check_route(route, k)
        with torch.no_grad():
            if route == "mixture":
                return self(x, gate_x=gate_x).exp()
            chosen = 1 if route == "top1" else k
            return self._of_chosen(x, gate_x, chosen, lambda outputs: self.head.log_probs(outputs).exp())

    def uncertainty(
        self, x: Tensor, route: str = "mixture", k: int = 2, *, gate_x: Tensor | None = None
    ) -> Uncertainty:
        """H[p(y|x)] = E_z H[p(y|z,x)] + I(y;z|x) in nats, each `[B]`; without gradient.

        All experts run, whatever the route. Arguments and errors: as `predict_proba`.

        Raises:
            GatewiseError: also for a head without classes.
        """
        self.check_route(route, k)
        with torch.no_grad():
            features, logits = self.read(x, gate_x)
            return split_entropy(routed_log_gate(logits, route, k), self.head.log_probs(self.outputs(features, logits)))

    def predict_mean(self, x: Tensor, route: str = "mixture", k: int = 2, *, gate_x: Tensor | None = None) -> Tensor:
        """E[y|x], `[B, 1]`, or `[B, L]` for labels; without gradient. Arguments and errors: as `predict_proba`.

        Raises:
            GatewiseError: for a head without a mean.
        """
        self.check_route(route, k)
        head = self._distribution_head()
        with torch.no_grad():
            if route == "mixture":
                features, logits = self.read(x, gate_x)
                return (logits.softmax(-1).unsqueeze(-1) * head.mean(self.outputs(features, logits))).sum(1)
            return self._of_chosen(x, gate_x, 1 if route == "top1" else k, head.mean)

    def _distribution_head(self) -> DistributionHead:
        if not isinstance(self.head, DistributionHead):
            raise GatewiseError(f"the head {type(self.head).__name__} is no distribution of numbers; use predict_proba")
        return self.head

    def check_route(self, route: str, k: int) -> None:
        """Refuse a way of predicting that is not known, and more experts than there are.

        Raises:
            GatewiseError: for an unknown route, or a k outside 1..K.
        """
        check_choice(route, ROUTES, "route")
        if route == "topk" and not 1 <= k <= self.num_experts:
            raise GatewiseError(f"route 'topk' takes k from 1 to {self.num_experts} experts, got {k}")

    def _of_chosen(self, x: Tensor, gate_x: Tensor | None, k: int, answer: Callable[[Tensor], Tensor]) -> Tensor:
        """What the gate's k most likely experts answer, weighted by their renormalised probabilities, `[B, ...]`."""
        features, logits = self.read(x, gate_x)
        # of equal logits max takes the first, as argmax does; topk takes any
        chosen, index = logits.max(-1, keepdim=True) if k == 1 else logits.topk(k, dim=-1)
        index = torch.where(chosen > -torch.inf, index, -1)  # of fewer unmasked ones than k
        plan = self.experts.plan(index.T, features)
        answers = answer(plan.run(self.experts.grouped, features))
        share = chosen.to(answers.dtype).softmax(-1).T.flatten()[plan.slots]
        weighted = share.unsqueeze(-1) * answers
        return torch.zeros(len(x), answers.shape[1], dtype=answers.dtype, device=answers.device).index_add(
            0, plan.rows, weighted
        )


_ONCE: tuple[object, int] = (None, -1)
"""What `_repetition` says outside of everything that a checkpoint repeats."""


def _repetition() -> tuple[object, int]:
    """The pass of a checkpoint that this is called in: its hooks for saved tensors, and the backward pass."""
    if torch.compiler.is_compiling():
        return _ONCE
    hooks = torch._C._autograd._top_saved_tensors_default_hooks(True)
    return None if hooks is None else hooks[0], torch._C._current_graph_task_id()


class Observed:
    """A mixture at given x and y: an `Integrand` with f(z) = log p(y|z,x).

    Made by `MixtureOfExperts.observe`; trunk and gate have run, experts run when they are asked. An expert is not run
    on a row where the gate masks it (a logit of -inf): what it would answer there, be it NaN, reaches nothing.

    Attributes:
        mixture: the mixture.
        features: what the experts see, `[B, ...]`.
        logits: of p(z|x), `[B, K]`.
        y: `[B]`, or `[B, L]` for a head of several labels.

    >>> import torch
    >>> import gatewise as gw
    >>> mixture = gw.MixtureOfExperts(torch.nn.Linear(4, 3), gw.MLPBank(3, 4, (), 2))  # 3 experts, 2 classes
    >>> observed = mixture.observe(torch.randn(5, 4), torch.tensor([0, 1, 0, 1, 1]))
    >>> observed.logits.shape, observed.at_all().shape, observed.at_index(torch.zeros(2, 5, dtype=torch.int64)).shape
    (torch.Size([5, 3]), torch.Size([5, 3]), torch.Size([2, 5]))
    """

    def __init__(self, mixture: MixtureOfExperts, features: Tensor, logits: Tensor, y: Tensor):
        self.mixture = mixture
        self.features = features
        self.logits = logits
        self.y = y
        self._all: Tensor | None = None
        self._all_has_graph, self._all_of = False, _ONCE

    @property
    def context(self) -> Tensor:
        """What a learned baseline sees of each example, `[B, D]`: the experts' input, flattened and detached."""
        features = self.features.detach()
        return features.flatten(1) if features.dim() > 1 else features.unsqueeze(1)

    leaves_out = True

    def at_all(self) -> Tensor:
        """log p(y|z,x) for every expert, `[B, K]`, 0 where it is masked.

        The experts run once however often this is asked. (Once more if it was first asked under `no_grad` and a
        gradient is wanted now.)
        """
        if (known := self._known()) is not None:
            return known
        self._all = self._every()
        self._all_has_graph, self._all_of = torch.is_grad_enabled(), _repetition()
        return self._all

    def _known(self) -> Tensor | None:
        """What `at_all` found, if it serves here: a pass that a checkpoint repeats finds anew what the first found."""
        with_graph = self._all_has_graph or not torch.is_grad_enabled()
        return self._all if with_graph and self._all_of in (_ONCE, _repetition()) else None

    def _every(self) -> Tensor:
        """The experts' answers, `[B, K]`."""
        experts, possible = self.mixture.experts, self.logits > -torch.inf
        # processes that share experts must run them in the same way; and a compiler, or vmap, cannot look
        together = experts.collective or experts.whole_batch or blind(possible)
        if not together and not bool(possible.all()):
            return self._of(chosen(possible), distinct=True).T
        outputs = experts.where(possible, self.features) if together else experts(self.features)
        y = self.y.unsqueeze(1).expand(*outputs.shape[:2], *self.y.shape[1:])
        answers = self.mixture.head.log_prob(outputs, y)
        return torch.where(possible, answers, 0.0) if together else answers

    def evaluations(self) -> Tensor:
        """The experts that `at_all` runs for each row, int64 `[B]`."""
        possible = self.logits > -torch.inf
        return (possible | self.mixture.experts.whole_batch).sum(-1)

    def _of(self, index: Tensor, distinct: bool = False) -> Tensor:
        """The answers of the experts `[S, B]`."""
        experts = self.mixture.experts
        plan = experts.plan(index, self.features, distinct=distinct)
        outputs = plan.run(experts.grouped, self.features)
        return plan.combine(self.mixture.head.log_prob(outputs, self.y[plan.rows]))

    def at_index(self, index: Tensor) -> Tensor:
        """log p(y|z,x) for the experts `[S, B]`: runs only those, each distinct pair once; -1 gives 0.

        Where all experts have run already (`at_all`), their answers are taken.
        """
        if (known := self._known()) is not None:
            asked = known.T.gather(0, index.clamp_min(0))
            return torch.where(index >= 0, asked, 0.0)
        return self._of(index)

    def at_point(self, point: Tensor) -> Tensor:
        """⟨point, log p(y|·,x)⟩ for points `[S, B, K]`: runs all experts, but for masked ones."""
        return (point * self.at_all()).sum(-1)

    def log_joint(self) -> Tensor:
        """log p(y,z|x), `[B, K]`."""
        return self.logits.log_softmax(-1) + self.at_all()

    def log_prob(self) -> Tensor:
        """log p(y|x), `[B]`."""
        return self.log_joint().logsumexp(-1)

    def log_posterior(self) -> Tensor:
        """log p(z|x,y), `[B, K]`."""
        return self.log_joint().log_softmax(-1)
