"""A choice whose cost no derivative reaches: which compressor to run on a block of bytes.

A network sees cheap statistics of a block and picks a compressor of the standard library; the cost is the length of
what comes out. `gw.by_index` hands that black box over as it is, and runs the compressors that were drawn. Prints the
mean length by the network's choice, by the best single compressor, and by the best one for each block. About 15 seconds
on one core.

    python examples/compressors.py [--steps 300]
"""

import argparse
import bz2
import lzma
import math
import random
import zlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

import gatewise as gw

SIZE, BATCH = 1024, 32


def delta(data: bytes) -> bytes:
    """LZMA of the differences of 16-bit samples."""
    filters = [{"id": lzma.FILTER_DELTA, "dist": 2}, {"id": lzma.FILTER_LZMA1, "dict_size": 4096, "lc": 0, "pb": 0}]
    return lzma.compress(data, lzma.FORMAT_RAW, filters=filters)


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "stored": bytes,
    "zlib": lambda data: zlib.compress(data, 9),
    "bz2": lambda data: bz2.compress(data, 1),
    "lzma, delta": delta,
}
WORDS = [
    "the",
    "gate",
    "picks",
    "one",
    "of",
    "the",
    "experts",
    "and",
    "an",
    "expert",
    "answers",
    "nobody",
    "sees",
    "which",
    "it",
    "was",
]


def block(source: random.Random) -> bytes:
    """Noise, text, the letters of a small alphabet, or a slow wave in 16-bit samples."""
    kind = source.choice(["noise", "text", "letters", "wave"])
    if kind == "noise":
        return source.randbytes(SIZE)
    if kind == "text":
        return " ".join(source.choices(WORDS, k=SIZE)).encode()[:SIZE]
    if kind == "letters":
        return bytes(source.choices(b"ACGT", k=SIZE))
    step, start = source.uniform(0.001, 0.02), source.uniform(0, 6)
    samples = (int(20000 * math.sin(start + step * i)) + source.randint(-4, 4) for i in range(SIZE // 2))
    return b"".join(sample.to_bytes(2, "little", signed=True) for sample in samples)


def statistics(blocks: Sequence[bytes]) -> Tensor:
    """What the network sees of each block: shares of 16 ranges of values, and how near neighbours are, `[B, 18]`."""
    data = torch.tensor([list(each) for each in blocks])
    shares = torch.stack([(data // 16 == part).float().mean(1) for part in range(16)], 1)
    near = [(data[:, gap:] - data[:, :-gap]).abs().float().mean(1) / 64 for gap in (1, 2)]
    return torch.cat([shares, torch.stack(near, 1)], 1)


def lengths(blocks: Sequence[bytes], index: Tensor) -> Tensor:
    """Compressed lengths as shares of the whole, `[S, B]`, by the compressors `[S, B]`; -1 is not run."""
    run = list(COMPRESSORS.values())
    return torch.tensor(
        [
            [len(run[k](data)) / SIZE if k >= 0 else 0.0 for k, data in zip(row, blocks, strict=True)]
            for row in index.tolist()
        ]
    )


class Found(NamedTuple):
    chosen: float
    single: float
    best: float


def main(words: Sequence[str] | None = None) -> Found:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=300)
    arguments = parser.parse_args(words)
    torch.manual_seed(0)
    source = random.Random(0)
    network = nn.Sequential(nn.Linear(18, 32), nn.ReLU(), nn.Linear(32, len(COMPRESSORS)))
    estimator = gw.estimators.get("score-function", baseline="leave-one-out")
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(arguments.steps):
        blocks = [block(source) for _ in range(BATCH)]
        cost = gw.by_index(lambda index, blocks=blocks: lengths(blocks, index))
        estimate = gw.expect(cost, network(statistics(blocks)), estimator, num_samples=2)
        optimiser.zero_grad()
        estimate.value.mean().backward()  # a cost: minimised
        optimiser.step()
    blocks = [block(source) for _ in range(200)]
    every = lengths(blocks, torch.arange(len(COMPRESSORS)).unsqueeze(1).expand(-1, len(blocks)))  # [K, B]
    with torch.no_grad():
        chosen = every.gather(0, network(statistics(blocks)).argmax(-1).unsqueeze(0))
    found = Found(chosen.mean().item(), every.mean(1).min().item(), every.min(0).values.mean().item())
    print(
        f"mean length, of the whole: chosen {found.chosen:.3f}, best single {found.single:.3f}, best {found.best:.3f}"
    )
    return found


if __name__ == "__main__":
    main()
