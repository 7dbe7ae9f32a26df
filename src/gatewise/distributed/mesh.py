"""The device mesh: one axis for the rows and one for the experts."""

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from gatewise.errors import GatewiseError

DATA, EXPERTS = "data", "experts"
"""The axes of a mesh: processes along the first hold the same experts, those along the second share them out."""


def expert_mesh(
    *, data: int | None = None, experts: int | None = None, device: torch.device | str = "cpu"
) -> DeviceMesh:
    """All processes as a mesh `[data, experts]`: `data` groups that each hold all experts, spread over `experts`.

        mesh = expert_mesh(experts=4)       # 8 processes: 2 groups of 4

    Every process has rows of its own, along both axes. All processes call this together.

    Args:
        data: how many hold the same experts; None: as many as there are for `experts`.
        experts: over how many the experts are spread; None: as many as there are for `data`.
        device: of the model; "cpu" or "cuda".

    Raises:
        GatewiseError: if the processes have not been joined, or are not data × experts.
    """
    if not (dist.is_available() and dist.is_initialized()):
        raise GatewiseError(
            "a mesh is one of processes that are joined: start them by torchrun, and make it inside of "
            "gatewise.distributed.join_processes(…) or after torch.distributed.init_process_group"
        )
    size = dist.get_world_size()
    if data is None:
        data, experts = (1, size) if experts is None else (max(size // max(experts, 1), 1), experts)
    elif experts is None:
        experts = max(size // max(data, 1), 1)
    if min(data, experts) < 1 or data * experts != size:
        raise GatewiseError(
            f"{size} process{'es' * (size > 1)} cannot hold experts spread over {experts} in groups that make {data}; "
            f"{experts} must divide the number of processes, and data × experts be {size}"
        )
    return init_device_mesh(torch.device(device).type, (data, experts), mesh_dim_names=(DATA, EXPERTS))


def check_mesh(mesh: DeviceMesh) -> None:
    """Refuse a mesh without the two axes.

    Raises:
        GatewiseError: with what makes one.
    """
    if mesh.mesh_dim_names != (DATA, EXPERTS):
        raise GatewiseError("the mesh must have the axes data and experts; make it by gatewise.distributed.expert_mesh")


def experts_per_process(count: int, processes: int) -> list[int]:
    """How many of so many experts each process of an axis holds: the chunks of a `Shard(0)`; the last may be empty."""
    each = -(-count // processes)
    return [min(each, max(count - rank * each, 0)) for rank in range(processes)]
