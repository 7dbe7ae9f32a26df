"""The audit of gradient estimators: `gw.audit`."""

from gatewise.auditing.audit import audit
from gatewise.auditing.result import Audit
from gatewise.auditing.row import Row

__all__ = ["Audit", "Row", "audit"]
