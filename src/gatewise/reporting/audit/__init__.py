"""The page of an audit, and its pictures."""

from gatewise.auditing.verdict import verdict
from gatewise.reporting.audit.figures import draw_on
from gatewise.reporting.audit.page import fragment, render_audit, write_audit

__all__ = ["draw_on", "fragment", "render_audit", "verdict", "write_audit"]
