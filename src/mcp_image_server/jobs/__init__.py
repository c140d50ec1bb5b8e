"""Work that outlives the question: start, watch, cancel, take up again after a crash.

A job is on disk before its service is called, the service's task id is on disk as soon as there is one, and the pictures are stored before the job says
`succeeded`. Each job belongs to one server process, which renews a lease on it; only a job whose lease has run out is taken up by another.
"""

from .attempt import Workplace
from .entering import Part
from .jobs import Jobs, Timing

__all__ = ["Jobs", "Part", "Timing", "Workplace"]
