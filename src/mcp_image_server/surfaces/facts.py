"""Values as JSON, the same on every surface.

The shape of an answer is `version`, `ok`, `images`, `error{code, message, details}`, as predecessors' users know it; a job, adjustments and the cost stand beside
them when there are any. What is absent is left out, but for the fields that have always been there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import ImageServerError
from ..models import Catalogue, Cost, Failure, Image, Job, JobState, Model, SizeList, SizeRange
from ..policy.ranking import Ranked
from ..studio import Estimate, Studio

VERSION = "1.0"


def answer(studio: Studio, job: Job) -> dict[str, Any]:
    """What a call that makes pictures answers."""
    body: dict[str, Any] = {
        "version": VERSION,
        "ok": succeeded(job),
        "images": [image_facts(studio, image) for image in job.images],
        "error": failure_facts(job.failure) if job.failure is not None else None,
        "job": job_facts(job),
    }
    if job.adjustments:
        body["adjustments"] = [{"field": adjustment.field, "message": adjustment.message} for adjustment in job.adjustments]
    if job.cost is not None:
        body["cost"] = cost_facts(job.cost)
    return body


def succeeded(job: Job) -> bool:
    """Whether nothing has gone wrong so far; a job that was cancelled did what was asked."""
    return job.failure is None or job.state is JobState.CANCELLED


def error_body(error: ImageServerError) -> dict[str, Any]:
    """The answer to a call that was refused."""
    return {"version": VERSION, "ok": False, "images": [], "error": {"code": error.code, "message": error.message, "details": error.details}}


def image_facts(studio: Studio, image: Image) -> dict[str, Any]:
    """One entry of `images`."""
    path = studio.path(image)
    return _present(
        id=image.id,
        provider=image.provider,
        mime_type=image.media_type,
        file_name=image.key,
        local_path=str(path) if path else None,
        url=studio.link(image),
        size_bytes=image.size_bytes,
        revised_prompt=image.revised_prompt,
        save_error=None,
        model=image.model,
        width=image.size.width,
        height=image.size.height,
        seed=image.seed,
        uri=image_uri(image),
        always=("local_path", "url", "revised_prompt", "save_error"),
    )


def found_facts(studio: Studio, image: Image) -> dict[str, Any]:
    """One entry of a search: the picture, and how it came about."""
    return {
        **image_facts(studio, image),
        "prompt": image.prompt,
        "job_id": image.job_id,
        "created_at": image.created_at.isoformat(timespec="seconds"),
    }


def image_uri(image: Image) -> str:
    """The name of the picture as an MCP resource."""
    return f"image://{image.id}"


def job_facts(job: Job) -> dict[str, Any]:
    """The entry `job`."""
    ended = job.state.ended
    return _present(
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
        **_present(
            prompt=job.request.prompt,
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
    flags = _present(may_have_been_billed=failure.may_have_been_billed or None, retryable=failure.retryable or None)
    return {"code": failure.code, "message": failure.message, "details": {**failure.details, **flags}}


def cost_facts(cost: Cost) -> dict[str, Any]:
    """The entry `cost`: units of the currency, and where the number comes from."""
    return {"amount": cost.micros / 1_000_000, "currency": cost.currency, "source": cost.source}


def estimate_facts(estimate: Estimate) -> dict[str, Any]:
    """Who would draw, what would be changed and what it would cost."""
    plan, objection = estimate.plan, estimate.objection
    return _present(
        provider=plan.catalogue.provider,
        model=plan.model.id,
        prompt=plan.request.prompt,
        resolution=str(plan.request.shape) if plan.request.shape else None,
        n=plan.request.count,
        adjustments=[{"field": adjustment.field, "message": adjustment.message} for adjustment in plan.adjustments],
        estimate=cost_facts(plan.estimate) if plan.estimate is not None else None,
        alternates=[each.name for each in plan.alternates] or None,
        needs_confirmation=estimate.needs_confirmation or None,
        would_be_refused={"code": objection.code, "message": objection.message} if objection is not None else None,
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


def catalogue_facts(catalogue: Catalogue) -> dict[str, Any]:
    """One provider and its models."""
    return {
        "provider": catalogue.provider,
        "title": catalogue.title,
        "default_model": catalogue.default_model,
        "models": [model_facts(model) for model in catalogue.models],
        "styles": {key: style.label for key, style in catalogue.styles.items()},
        "resolutions": dict(catalogue.resolutions),
    }


def model_facts(model: Model) -> dict[str, Any]:
    """One model and what it can do."""
    return _present(
        provider=model.provider,
        model=model.id,
        title=model.title or None,
        operations=sorted(model.operations),
        sizes=size_words(model.sizes),
        max_n=model.max_count,
        seed=model.seed,
        negative_prompt=model.negative_prompt,
        qualities=list(model.qualities) or None,
        backgrounds=list(model.backgrounds) or None,
        formats=list(model.formats) or None,
        max_input_images=model.max_images or None,
        price=_present(amount=model.price.amount, currency=model.price.currency, per="image", as_of=model.price.as_of.isoformat())
        if model.price
        else None,
        ends=model.ends.isoformat() if model.ends else None,
        note=model.note or None,
    )


def size_words(sizes: SizeList | SizeRange | None) -> str:
    """The sizes a model draws, for people and language models."""
    match sizes:
        case SizeList():
            return ", ".join(map(str, sizes.sizes))
        case SizeRange():
            grid = f", in steps of {sizes.multiple}" if sizes.multiple > 1 else ""
            area = f", {sizes.min_pixels / 1e6:.2f}-{sizes.max_pixels / 1e6:.2f} megapixels" if sizes.max_pixels < sizes.max_edge**2 else ""
            ratio = f", up to {sizes.max_ratio:g}:1" if sizes.max_ratio < 16 else ""
            return f"any, edges {sizes.min_edge}-{sizes.max_edge} pixels{grid}{area}{ratio}"
        case None:
            return "as the service decides"


def brief_sizes(sizes: SizeList | SizeRange | None) -> str:
    """The same in the width of a table's column."""
    match sizes:
        case SizeList():
            return f"{sizes.sizes[0]}" + (f" +{len(sizes.sizes) - 1}" if len(sizes.sizes) > 1 else "")
        case SizeRange():
            return f"any to {sizes.max_edge}"
        case None:
            return "its own"


def _present(*, always: Sequence[str] = (), **values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None or name in always}
