import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from gatewise import GatewiseError, MixtureOfExperts, objectives
from gatewise.config import LoopConfig
from gatewise.training import fit, rows_of


class Pairs(Dataset):
    """A list as a dataset."""

    def __init__(self, pairs):
        self.pairs = pairs

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, i):
        return self.pairs[i]


class Stream(IterableDataset):
    def __iter__(self):
        return iter([(np.ones((2, 2), dtype=np.uint8) * i, i % 2) for i in range(5)])


def test_pairs_come_in_order_and_the_random_state_stays():
    x, y = torch.randn(70, 3, dtype=torch.float64), torch.arange(70) % 3
    state = torch.get_rng_state()
    rows = rows_of(TensorDataset(x, y.int()), batch_size=32)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(rows[0], x)
    assert torch.equal(rows[1], y)
    assert rows[1].dtype == torch.int64


def test_arrays_of_whole_numbers_become_floating_point():
    x, y = rows_of(Stream(), batch_size=2)
    assert (x.dtype, x.shape, y.tolist()) == (torch.float32, (5, 2, 2), [0, 1, 0, 1, 0])
    assert x[:, 0, 0].tolist() == [0, 1, 2, 3, 4]


def test_fit_trains_on_it():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 2, generator=generator)
    rows = rows_of(TensorDataset(x, (x[:, 0] > 0).long()))
    mixture = MixtureOfExperts(torch.nn.Linear(2, 2), [torch.nn.Linear(2, 2) for _ in range(2)])
    result = fit(mixture, objectives.get("marginal"), rows, rows, LoopConfig(epochs=20, lr=0.05))
    assert result.history[-1]["validation_accuracy"] > 0.9


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ([], "it is empty"),
        ([torch.ones(2)], "not pairs"),
        ([(torch.ones(2), "cat")], "not pairs"),
        ([(torch.ones(2), 0.5)], "not one whole number each"),
        ([(torch.ones(2), torch.ones(2, dtype=int))], "not one whole number each"),
        ([(torch.ones(2), 0), (torch.ones(3), 1)], "one shape"),
        ([(torch.ones(2), -1)], "number the classes from 0"),
        ([(object(), 1)], "gives no rows to train on"),
    ],
)
@pytest.mark.parametrize("batch_size", [1, 8])
def test_refuses_what_is_no_pairs(pairs, said, batch_size):
    with pytest.raises(GatewiseError, match="Pairs") as caught:
        rows_of(Pairs(pairs), batch_size=batch_size)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
