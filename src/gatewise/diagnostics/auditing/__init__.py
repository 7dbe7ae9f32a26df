"""The audit of gradient estimators: `gw.audit`."""

from gatewise.diagnostics.auditing.function import audit
from gatewise.diagnostics.auditing.result import Audit
from gatewise.diagnostics.auditing.row import Row

__all__ = ["Audit", "Row", "audit"]
