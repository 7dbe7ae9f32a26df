"""The page of a comparison: a pure view of its comparison.json and of the metrics.jsonl of its cells."""

from gatewise.reporting.comparison.page import render_comparison, write_comparison
from gatewise.reporting.comparison.verdict import doubts, verdict
from gatewise.reporting.schemas.comparison import parse_comparison

__all__ = ["doubts", "parse_comparison", "render_comparison", "verdict", "write_comparison"]
