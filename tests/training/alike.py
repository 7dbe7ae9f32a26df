"""Whether two trainings went the same way."""

import torch


def without_times(history):
    """The epochs, without what no two trainings share."""
    return [{key: value for key, value in line.items() if key != "seconds"} for line in history]


def assert_same(found, expected):
    """The same tensors by name, to the bit."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
