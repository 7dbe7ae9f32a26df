"""The page of an audit, and its pictures."""

from gatewise.reporting.audit.page import render_audit, write_audit

__all__ = ["render_audit", "write_audit"]
