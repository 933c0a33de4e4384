"""Times the native core against its peers on one machine, each answer checked before its time counts."""

from semconv.bench.jobs import Job
from semconv.bench.runner import Timing, run_job

__all__ = ["Job", "Timing", "run_job"]
