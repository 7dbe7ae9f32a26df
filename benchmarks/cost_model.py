"""What a step costs where experts and rows are spread over many GPUs: arithmetic, with the machine's rates as inputs.

Nothing here is measured; docs/scaling.md says which terms were compared with a measurement. Prints the plans and fills
docs/scaling.md.

    python benchmarks/cost_model.py --experts 1000 --width 1024 --hidden 4096 --rows 8192 --drawn 2
"""

import argparse
import math
from dataclasses import dataclass, fields

from common import fill_page, table

GPUS = (8, 64, 1024)
STATE = 16
"""Bytes of a weight in float32: itself, its gradient, and AdamW's two moments."""
MOVED = 28
"""Bytes of a weight that AdamW moves: four read, three written, 4 bytes each."""
SENT = 2
"""Bytes of a number of a row that travels to an expert: bfloat16."""


@dataclass(frozen=True)
class Machine:
    """Rates that a program reaches, not those on the data sheet; an H100 with NVLink in machines of 8, for example."""

    flops: float = 4e14  # FLOP/s a GPU, bfloat16
    memory: float = 2.5e12  # bytes/s of a GPU's memory
    inside: float = 3e11  # bytes/s that a GPU sends within its machine
    between: float = 4e10  # bytes/s that a GPU sends to other machines
    latency: float = 2e-5  # seconds of a message
    holds: float = 6.4e10  # bytes of a GPU's memory for weights and optimiser, beside activations
    together: int = 8  # GPUs of a machine

    def rate(self, count: int, apart: int = 1) -> float:
        """Bytes/s between so many GPUs, of which neighbours are so far apart."""
        return self.inside if count * apart <= self.together else self.between


@dataclass(frozen=True)
class Layer:
    """K experts of two matrices, width x hidden, behind a linear gate; each of so many rows of a GPU draws some."""

    experts: int = 1000
    width: int = 1024
    hidden: int = 4096
    rows: int = 8192
    drawn: int = 2

    @property
    def weights(self) -> float:
        """Of all experts."""
        return 2.0 * self.experts * self.width * self.hidden

    @property
    def shared(self) -> float:
        """Weights of the gate."""
        return float(self.experts * self.width)


def all_reduce(size: float, count: int, rate: float, latency: float) -> float:
    """Seconds until so many processes have the sum of so many bytes of each."""
    return 0.0 if count == 1 else 2 * math.log2(count) * latency + 2 * (count - 1) / count * size / rate


def all_to_all(size: float, count: int, rate: float, latency: float) -> float:
    """Seconds until each of so many processes has sent so many bytes, an equal part to each of them."""
    return 0.0 if count == 1 else (count - 1) * latency + (count - 1) / count * size / rate


def memory(layer: Layer, spread: int) -> float:
    """Bytes of a GPU that holds its part of experts that are spread over so many."""
    return STATE * (layer.shared + layer.weights / spread)


def step(layer: Layer, machine: Machine, gpus: int, spread: int) -> dict[str, float]:
    """Seconds of a step by what takes them, experts spread over so many of the GPUs, each such group a replica."""
    weights = 2.0 * layer.width * layer.hidden * layer.drawn + layer.shared
    travelling = 1.0 * layer.rows * layer.drawn * layer.width * SENT
    own = layer.weights / spread
    replicas = gpus // spread
    return {
        "compute": 6 * layer.rows * weights / machine.flops,
        # to the expert and back, in the forward pass and in the backward pass
        "rows travel": 4 * all_to_all(travelling, spread, machine.rate(spread), machine.latency),
        "gradients": all_reduce(4 * own, replicas, machine.rate(replicas, spread), machine.latency)
        + all_reduce(4 * layer.shared, gpus, machine.rate(gpus), machine.latency),
        "optimiser": MOVED * (own + layer.shared) / machine.memory,
    }


def plan(layer: Layer, machine: Machine, gpus: int) -> dict[str, object]:
    """The fastest spread that fits, for so many GPUs."""
    spreads = [2**i for i in range(int(math.log2(min(gpus, layer.experts))) + 1)]
    fitting = [spread for spread in spreads if memory(layer, spread) <= machine.holds]
    if not fitting:
        return {"GPUs": gpus, "experts spread over": "does not fit"}
    best = min(fitting, key=lambda spread: sum(step(layer, machine, gpus, spread).values()))
    parts = step(layer, machine, gpus, best)
    total = sum(parts.values())
    return {
        "GPUs": gpus,
        "experts spread over": best,
        "replicas": gpus // best,
        "GB a GPU": memory(layer, best) / 1e9,
        **{f"{name}, ms": 1e3 * seconds for name, seconds in parts.items()},
        "step, ms": 1e3 * total,
        "of it compute": parts["compute"] / total,
        "rows/s": gpus * layer.rows / total,
    }


def add_options(parser: argparse.ArgumentParser, kind: type) -> None:
    for field in fields(kind):
        parser.add_argument(f"--{field.name}", type=type(field.default), default=field.default)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser, Layer)
    add_options(parser, Machine)
    chosen = vars(parser.parse_args())
    layer, machine = (kind(**{f.name: chosen[f.name] for f in fields(kind)}) for kind in (Layer, Machine))
    text = table([plan(layer, machine, gpus) for gpus in GPUS])
    print(text)
    options = " ".join(f"--{name} {value:g}" for name, value in chosen.items())
    fill_page("docs/scaling.md", "plan", f"`python benchmarks/cost_model.py {options}`:\n\n{text}")


if __name__ == "__main__":
    main()
