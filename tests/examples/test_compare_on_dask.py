"""examples/compare_on_dask.py, with the workers of a cluster in threads of this process."""

import importlib.util
from pathlib import Path

import pytest

from gatewise.comparison import compare
from gatewise.config import RunConfig

PATH = Path(__file__).parents[2] / "examples" / "compare_on_dask.py"


@pytest.mark.filterwarnings("ignore")  # of packages that are not ours
def test_cells_trained_by_dask_are_those_trained_here(tmp_path, capsys):
    distributed = pytest.importorskip(
        "distributed", reason="distributed is not installed: pip install -e '.[examples]'"
    )
    spec = importlib.util.spec_from_file_location("compare_on_dask", PATH)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    options = {"n_workers": 1, "threads_per_worker": 2, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster:
        words = [
            "--scheduler",
            cluster.scheduler_address,
            "--epochs",
            "1",
            "--seeds",
            "1",
            "--out",
            str(tmp_path / "a"),
        ]
        found = example.main(words)
        assert cluster.scheduler.transition_counter > 0  # it has had tasks
    here = compare(RunConfig(data="digits", epochs=1), tmp_path / "b", estimators=example.ESTIMATORS, seeds=1)
    assert not found.failed
    assert [cell["test"] for cell in found.summary["cells"]] == [cell["test"] for cell in here.summary["cells"]]
    assert str(tmp_path / "a" / "comparison.html") in capsys.readouterr().out
