"""The report of a run: one offline HTML page, a pure view of the run folder's summary.json and metrics.jsonl."""

from gatewise.reporting.run.page import render, write_report

__all__ = ["render", "write_report"]
