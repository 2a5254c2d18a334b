"""The memory plan: bytes on each GPU and the host, by part, before anything is launched."""

from qltui.advice.memory.fit import Fit, fit, job_on
from qltui.advice.memory.held import Job
from qltui.advice.memory.parts import Part, Parts, Phase, total
from qltui.advice.memory.plan import MemoryPlan, plan_memory

__all__ = ["Fit", "Job", "MemoryPlan", "Part", "Parts", "Phase", "fit", "job_on", "plan_memory", "total"]
