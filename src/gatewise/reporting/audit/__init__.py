"""The page of an audit, and its pictures."""

from gatewise.reporting.audit.figures import draw_on
from gatewise.reporting.audit.page import fragment, render_audit, write_audit
from gatewise.reporting.audit.verdict import verdict

__all__ = ["draw_on", "fragment", "render_audit", "verdict", "write_audit"]
