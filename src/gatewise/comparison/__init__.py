"""Comparing objectives and estimators: every combination trained on the same data, over several seeds, in parallel.

>>> from gatewise.comparison import compare
>>> from gatewise.training import RunConfig
>>> found = compare(RunConfig(data="iris", epochs=20), "runs/compare-iris",
...                 estimators=["enumeration", "score-function:samples=2"], seeds=3, jobs=2)
>>> found.summary["combinations"][0]["name"], found.folder / "comparison.html"

`joblib.parallel_config` chooses where the cells are trained; see `compare`.
"""

from gatewise.comparison.cells import Cell
from gatewise.comparison.combinations import Combination, combine
from gatewise.comparison.run import Comparison, Watcher, compare, default_folder

__all__ = ["Cell", "Combination", "Comparison", "Watcher", "combine", "compare", "default_folder"]
