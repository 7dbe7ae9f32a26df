import pytest

from gatewise.comparison import Comparison, compare
from gatewise.config import RunConfig, load_config

ESTIMATORS = ["enumeration", "score-function:baseline=leave-one-out:samples=2"]


def quick(**keys) -> RunConfig:
    return load_config({"data": "iris", "epochs": 2, "experts": 2, "expert_hidden": [4], **keys})


@pytest.fixture(scope="session")
def small(tmp_path_factory) -> Comparison:
    """Three combinations with two seeds, trained one at a time; not to be changed."""
    folder = tmp_path_factory.mktemp("comparisons") / "small"
    return compare(quick(), folder, estimators=ESTIMATORS, objectives=["jensen", "marginal"], seeds=2, jobs=1)
