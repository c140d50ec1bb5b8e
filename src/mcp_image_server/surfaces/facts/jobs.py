"""Jobs as JSON: what they answer, cost, and why they failed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ...errors import ImageServerError
from ...models import Adjustment, Cost, Failure, Job, JobState
from ...policy.budget import MICROS
from ...policy.ranking import Ranked
from ...studio import Estimate, Studio
from .images import image_facts
from .present import present

if TYPE_CHECKING:
    from ...transforming import Transformed


VERSION = "1.0"
"""Of the shape of answers."""


def answer(studio: Studio, job: Job, *, paths: bool = True) -> dict[str, Any]:
    """What a call that makes pictures answers."""
    body: dict[str, Any] = {
        "version": VERSION,
        "ok": succeeded(job),
        "images": [image_facts(studio, image, paths=paths) for image in job.images],
        "error": failure_facts(job.failure) if job.failure is not None else None,
        "job": job_facts(job),
    }
    if job.adjustments:
        body["adjustments"] = adjustment_facts(job.adjustments)
    if job.cost is not None:
        body["cost"] = cost_facts(job.cost)
    return body


def transformed_facts(studio: Studio, made: Transformed, *, paths: bool = True) -> dict[str, Any]:
    """What a call that changes pictures without a service answers: stored pictures, or the files that were written."""
    body = answer(studio, made.job, paths=paths) if made.job is not None else {"version": VERSION, "ok": True, "images": [], "error": None}
    if made.files:
        body["files"] = [
            present(
                path=str(file.path),
                mime_type=file.media_type,
                width=file.size.width if file.size else None,
                height=file.size.height if file.size else None,
                size_bytes=file.size_bytes,
            )
            for file in made.files
        ]
    if made.adjustments:
        body["adjustments"] = adjustment_facts(made.adjustments)
    return body


def error_body(error: ImageServerError) -> dict[str, Any]:
    """The answer to a call that was refused."""
    return {"version": VERSION, "ok": False, "images": [], "error": {"code": error.code, "message": error.message, "details": error.details}}


def succeeded(job: Job) -> bool:
    """Whether nothing has gone wrong so far; a job that was cancelled did what was asked."""
    return job.failure is None or job.state is JobState.CANCELLED


def job_facts(job: Job) -> dict[str, Any]:
    """The entry `job`."""
    ended = job.state.ended
    return present(
        id=job.id,
        state=str(job.state),
        provider=job.provider,
        model=job.model,
        progress=None if ended else round(job.progress, 3),
        message=None if ended else job.message,
    )


def listed_job_facts(job: Job) -> dict[str, Any]:
    """One entry of a list of jobs."""
    return {
        **job_facts(job),
        **present(
            prompt=job.request.prompt,
            original_prompt=job.request.original_prompt,
            batch_id=job.batch_id,
            created_at=job.created_at.isoformat(timespec="seconds"),
            finished_at=job.finished_at.isoformat(timespec="seconds") if job.finished_at else None,
            images=[image.id for image in job.images],
            cost=cost_facts(job.cost) if job.cost else None,
            task_id=job.task_id,
            request_id=job.request_id,
            error=failure_facts(job.failure) if job.failure else None,
        ),
    }


def failure_facts(failure: Failure) -> dict[str, Any]:
    """The entry `error` of a job that failed."""
    flags = present(may_have_been_billed=failure.may_have_been_billed or None, retryable=failure.retryable or None)
    return {"code": failure.code, "message": failure.message, "details": {**failure.details, **flags}}


def adjustment_facts(adjustments: Iterable[Adjustment]) -> list[dict[str, str]]:
    """The entry `adjustments`: what was changed."""
    return [{"field": adjustment.field, "message": adjustment.message} for adjustment in adjustments]


def objection_facts(objection: ImageServerError | None) -> dict[str, str] | None:
    """The entry `would_be_refused` of an estimate."""
    return None if objection is None else {"code": objection.code, "message": objection.message}


def cost_facts(cost: Cost) -> dict[str, Any]:
    """The entry `cost`: units of the currency, and where the number comes from."""
    return {"amount": cost.micros / MICROS, "currency": cost.currency, "source": cost.source}


def estimate_facts(estimate: Estimate) -> dict[str, Any]:
    """Who would draw, what would be changed and what it would cost."""
    plan = estimate.plan
    return present(
        provider=plan.catalogue.provider,
        model=plan.model.id,
        prompt=plan.request.prompt,
        resolution=str(plan.request.shape) if plan.request.shape else None,
        n=plan.request.count,
        adjustments=adjustment_facts(plan.adjustments),
        estimate=cost_facts(plan.estimate) if plan.estimate is not None else None,
        alternates=[each.name for each in plan.alternates] or None,
        needs_confirmation=estimate.needs_confirmation or None,
        would_be_refused=objection_facts(estimate.objection),
        always=("estimate",),
    )


def ranked_facts(ranked: Ranked) -> dict[str, Any]:
    """How well a model fits a request, and why."""
    return {
        "provider": ranked.candidate.catalogue.provider,
        "model": ranked.candidate.model.id,
        "points": round(ranked.score, 2),
        "reasons": [{"points": round(point.value, 2), "words": point.words} for point in ranked.points],
    }
