"""What the benchmarks share: where data lie, tables on the screen, results as JSON."""

import json
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

RESULTS = Path(__file__).parent / "results"


def data_file(name: str) -> Path:
    """A file of the folder in GATEWISE_DATA, or of ../shared/data beside the project; ends the benchmark if missing."""
    folder = Path(os.environ.get("GATEWISE_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (folder / name).is_file():
        sys.exit(f"skipped: {name} is not in {folder}; set GATEWISE_DATA to the folder that has it")
    return folder / name


def bundled(load: Callable[..., Any]) -> tuple[pl.DataFrame, np.ndarray]:
    """The rows and classes of one of scikit-learn's own data sets."""
    x, y = load(return_X_y=True)
    return pl.DataFrame(x, schema=[f"x{i}" for i in range(x.shape[1])]), y


def adult(file: str = "adult-train.csv") -> tuple[pl.DataFrame, np.ndarray]:
    """A space follows each comma of the file: only without it are its numbers numbers. Labels end in a dot in one."""
    frame = pl.read_csv(data_file(file), infer_schema=False).with_columns(pl.all().str.strip_chars())
    *names, target = frame.columns
    numbers = [name for name in names if frame[name].str.contains(r"^-?\d+$").all()]
    x = frame.select(pl.col(name).cast(pl.Int64) if name in numbers else name for name in names)
    return x, frame[target].str.strip_chars(".").to_numpy()


def table(rows: list[dict[str, Any]]) -> str:
    """Rows with the same keys, as a table in Markdown."""
    texts = [{key: f"{v:.4g}" if isinstance(v, float) else str(v) for key, v in row.items()} for row in rows]
    widths = {key: max(len(key), *(len(text[key]) for text in texts)) for key in texts[0]}
    lines = ({key: key for key in widths}, {key: "-" * width for key, width in widths.items()}, *texts)
    cells = ([line[key].ljust(width) for key, width in widths.items()] for line in lines)
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def fill_page(page: str, name: str, text: str) -> None:
    """Put text between the marks `<!-- NAME -->` and `<!-- end of NAME -->` of a page of the repository."""
    path = RESULTS.parents[1] / page
    before, start, rest = path.read_text(encoding="utf-8").partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition(f"<!-- end of {name} -->")
    if not start or not end:
        sys.exit(f"{page} has no place for {name}: give it the lines <!-- {name} --> and <!-- end of {name} -->")
    path.write_text(f"{before}{start}{text}\n{end}{after}", encoding="utf-8")


def write_result(name: str, rows: list[dict[str, Any]]) -> Path:
    """Write rows with the machine they were measured on to results/NAME.json."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    machine = {"processor": platform.machine(), "threads": torch.get_num_threads(), "torch": torch.__version__}
    path.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
    print(f"\nwritten to {path}", file=sys.stderr)
    return path
