"""The page that shows finished runs side by side: a view of their summary.json and metrics.jsonl."""

from gatewise.reporting.side_by_side.page import render_runs, write_runs
from gatewise.reporting.side_by_side.table import Compared, Trained

__all__ = ["Compared", "Trained", "render_runs", "write_runs"]
