"""The report of a run: one offline HTML page, a pure view of the run folder's summary.json and metrics.jsonl."""

from gatewise.reporting.reading import write_report
from gatewise.reporting.run.page import render

__all__ = ["render", "write_report"]
