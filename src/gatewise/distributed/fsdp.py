"""A mixture whose parameters are sharded by FSDP2: gathered where a part runs, and freed again."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

from gatewise.distributed.sharded_bank import ShardedBank
from gatewise.errors import GatewiseError
from gatewise.mixture import Experts, MixtureOfExperts, MLPBank
from gatewise.mixture.grouped.blocks import Blocks
from gatewise.mixture.masks import attached


def shard_mixture(mixture: MixtureOfExperts, mesh: DeviceMesh, **options: Any) -> MixtureOfExperts:
    """Shard every parameter of a mixture over the processes of a mesh by `torch.distributed.fsdp.fully_shard`.

    Gate, trunk and head are a unit each, and all experts together are **one**. A unit is gathered by all processes
    when it runs, so all have to run it equally often. Which experts get rows is known to each process alone: with one
    unit an expert, processes would wait for each other over different experts, or take one's weights for another's.

    The gradient is the mean over the processes, as FSDP has it; make the optimiser afterwards.

    Args:
        mixture: changed in place.
        mesh: of one axis, such as `torch.distributed.init_device_mesh("cpu", (2,))`.
        **options: for `fully_shard`, such as `mp_policy`.

    Returns:
        The mixture.

    Raises:
        GatewiseError: if its experts are spread already.
    """
    if isinstance(mixture.experts, ShardedBank):
        raise GatewiseError("these experts are spread over processes by shard_experts; take that or shard_mixture")
    options = {"reshard_after_forward": True, **options}  # each unit is a root, which FSDP would leave gathered
    experts = mixture.experts
    if any(True for _ in experts.parameters()):
        experts.grouped = _all_in_the_graph(experts)
    for part in (mixture.gate, mixture.trunk, mixture.head, experts):
        if isinstance(part, nn.Module) and any(True for _ in part.parameters()):
            fully_shard(part, mesh=mesh, **options)
    register_fsdp_forward_method(experts, "grouped")
    return mixture


def _all_in_the_graph(experts: Experts) -> Callable[..., Tensor]:
    """`grouped` whose outputs have rows and parameters in their graph, though no row may ask for an expert.

    Which parameters have a gradient, those of a trunk among them, must not differ from process to process: the
    gradients of a unit are summed as one.
    """
    grouped = experts.grouped

    def wrapped(x: Tensor, counts: Sequence[int], *blocks: Blocks) -> Tensor:
        outputs = grouped(x, counts, *blocks)
        if isinstance(experts, MLPBank) and len(x):
            return outputs  # stacked parameters have one gradient for all experts
        return attached(outputs, (x, *experts.parameters()))

    return wrapped
