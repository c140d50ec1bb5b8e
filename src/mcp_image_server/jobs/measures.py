"""What is counted and traced of jobs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .. import telemetry
from ..errors import LimitError
from ..models import Job, JobState
from .attempt import Outcome


@contextmanager
def refusals_counted() -> Iterator[None]:
    """Counts what is refused inside."""
    try:
        yield
    except LimitError as error:
        telemetry.REFUSALS.add(code=error.code)
        raise


def count_ended(job: Job, outcome: Outcome) -> None:
    """A job that has ended, in numbers."""
    telemetry.JOBS_ENDED.add(provider=job.provider, model=job.model, outcome=outcome.word)
    if outcome.images:
        telemetry.IMAGES.add(len(outcome.images), provider=job.provider, model=job.model)
    if outcome.cost is not None and outcome.cost.micros:
        telemetry.COST.add(outcome.cost.micros / 1_000_000, provider=job.provider, currency=outcome.cost.currency, source=outcome.cost.source)


def traced(job: Job) -> telemetry.Attributes:
    """What a span says of a job from the start, in the words of OpenTelemetry's conventions for generative AI. Never what the picture shows."""
    return {
        "gen_ai.operation.name": "generate_content",
        "gen_ai.output.type": "image",
        "gen_ai.provider.name": job.provider,
        "gen_ai.request.model": job.model,
        "gen_ai.request.choice.count": job.request.count,
        "mcp_image.job.id": job.id,
        "mcp_image.operation": str(job.request.operation),
    }


def trace_end(span: telemetry.Span, outcome: Outcome) -> None:
    """What a span says of a job's end."""
    if outcome.images:
        span.note({"gen_ai.response.model": outcome.images[0].model})
    if outcome.request_id:
        span.note({"gen_ai.response.id": outcome.request_id})
    if outcome.state is not JobState.SUCCEEDED:
        span.fail(outcome.word)
