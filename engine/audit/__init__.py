"""Checks of the running job by measurement: what each rank holds, computes with, and saves."""

from engine.audit.adapter import audit_adapter, begun_checksums
from engine.audit.failure import AuditFailure, report_audit
from engine.audit.sharding import audit_sharding
from engine.audit.weights import LoadedWeights, WeightWatch, loaded_checksums

__all__ = [
    "AuditFailure", "LoadedWeights", "WeightWatch", "audit_adapter", "audit_sharding", "begun_checksums",
    "loaded_checksums", "report_audit",
]  # fmt: skip
