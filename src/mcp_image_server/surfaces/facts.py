"""Values as JSON, the same on every surface.

The shape of an answer is `version`, `ok`, `images`, `error{code, message, details}`, as predecessors' users know it; a job, adjustments and the cost stand beside
them when there are any. What is absent is left out, but for the fields that have always been there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from ..errors import ImageServerError, RequestError
from ..models import (
    AspectRatio,
    Catalogue,
    Cost,
    Failure,
    Headway,
    Image,
    ImageFilter,
    Job,
    JobState,
    Lineage,
    Model,
    SizeList,
    SizeRange,
    Statistics,
    Style,
    Tally,
    parse_shape,
)
from ..policy.ranking import Ranked
from ..studio import Estimate, Studio

if TYPE_CHECKING:
    from ..batches import Batch, BatchEstimate, Piece
    from ..library import Template
    from ..pictures import Inspection
    from ..providers.contract import Finding
    from ..survey import Comparison
    from ..transforming import Transformed

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


def transformed_facts(studio: Studio, made: Transformed) -> dict[str, Any]:
    """What a call that changes pictures without a service answers: stored pictures, or the files that were written."""
    body = answer(studio, made.job) if made.job is not None else {"version": VERSION, "ok": True, "images": [], "error": None}
    if made.files:
        body["files"] = [
            _present(
                path=str(file.path),
                mime_type=file.media_type,
                width=file.size.width if file.size else None,
                height=file.size.height if file.size else None,
                size_bytes=file.size_bytes,
            )
            for file in made.files
        ]
    if made.adjustments:
        body["adjustments"] = [{"field": adjustment.field, "message": adjustment.message} for adjustment in made.adjustments]
    return body


def inspection_facts(found: Inspection) -> dict[str, Any]:
    """What a picture's file says about itself."""
    manifest = found.manifest
    return {
        "mime_type": found.facts.media_type,
        "width": found.facts.size.width,
        "height": found.facts.size.height,
        "size_bytes": found.facts.size_bytes,
        "sha256": found.facts.sha256,
        "animated": found.facts.animated,
        "digital_source_type": found.digital_source_type or None,
        "provenance": dict(found.provenance),
        "aigc": dict(found.aigc) or None,
        "c2pa": {
            "signed": found.signed,
            "checked": found.checked,
            **(
                {
                    "state": manifest.state,
                    "signer": manifest.signer,
                    "generator": manifest.generator,
                    "actions": list(manifest.actions),
                    "digital_source_type": manifest.digital_source_type or None,
                    "ingredients": manifest.ingredients,
                    "problems": list(manifest.problems),
                }
                if manifest is not None
                else {}
            ),
        },
        "xmp": dict(found.xmp),
        "exif": dict(found.exif),
        "texts": dict(found.texts),
    }


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
        **_present(
            title=image.title or None,
            tags=list(image.tags) or None,
            favourite=image.favourite or None,
            made_from=list(image.parents) or None,
            deleted_at=image.deleted_at.isoformat(timespec="seconds") if image.deleted_at else None,
        ),
    }


def lineage_facts(studio: Studio, lineage: Lineage) -> dict[str, Any]:
    """A picture and its relatives, nearest first; `made_from` of each says how they hang together."""
    return {
        "image": found_facts(studio, lineage.image),
        "ancestors": [found_facts(studio, image) for image in lineage.ancestors],
        "descendants": [found_facts(studio, image) for image in lineage.descendants],
    }


def statistics_facts(statistics: Statistics) -> dict[str, Any]:
    """Pictures and money, in units of each currency."""
    return {
        **_tally_facts(statistics.total),
        "favourites": statistics.favourites,
        "deleted": statistics.deleted,
        "providers": {name: _tally_facts(tally) for name, tally in statistics.providers.items()},
        "models": {name: _tally_facts(tally) for name, tally in statistics.models.items()},
        "days": {day.isoformat(): _tally_facts(tally) for day, tally in statistics.days.items()},
    }


def _tally_facts(tally: Tally) -> dict[str, Any]:
    spent = {currency: micros / 1_000_000 for currency, micros in tally.spent.items()}
    return {"pictures": tally.pictures, "size_bytes": tally.size_bytes, "spent": spent}


def image_filter(*, since: str = "", until: str = "", ratio: str = "", **fields: Any) -> ImageFilter:
    """Which images are wanted, as people write it.

    Args:
        since: a day or a moment in ISO 8601; without an offset, in this machine's time.
        until: the same; of a day, its end.
        ratio: such as 16:9; a size is as good.
        fields: the others of `ImageFilter`, where what is empty means any.

    Raises:
        RequestError: a word cannot be read.
    """
    try:
        shape = parse_shape(ratio)
        begin, end = _moment(since), _moment(until)
    except ValueError as error:
        raise RequestError(f"{error}.") from error
    if end is not None and len(until.strip()) <= len("2026-12-31"):
        end += timedelta(days=1)
    wanted: dict[str, Any] = {name: value for name, value in fields.items() if value or type(value) is int}
    return ImageFilter(since=begin, until=end, ratio=AspectRatio(width=shape.width, height=shape.height) if shape else None, **wanted)


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text.strip()).astimezone() if text.strip() else None
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is no day; write 2026-12-31, or a moment such as 2026-12-31T18:00+08:00") from None


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


def batch_body(studio: Studio, batch: Batch, *, most: int | None = None) -> dict[str, Any]:
    """What a call about a batch answers.

    Args:
        most: so many items are told of, those without pictures first; None: all.
    """
    failed = batch.headway.failed
    words = f"{failed} of {batch.headway.items} items have ended without a picture; `batch.items` says why. They can be entered anew with `retry`."
    return {
        "version": VERSION,
        "ok": batch.state != "incomplete",
        "images": [image_facts(studio, batch.sheet)] if batch.sheet is not None else [],
        "error": {"code": "incomplete", "message": words, "details": {}} if batch.state == "incomplete" else None,
        "batch": batch_facts(studio, batch, most=most),
    }


def batch_facts(studio: Studio, batch: Batch, *, most: int | None = None) -> dict[str, Any]:
    """The entry `batch`: how far it has come, what it cost, and its items, each with its number from 1."""
    headway = batch.headway
    numbered = sorted(enumerate(batch.pieces, 1), key=lambda each: (most is not None and not each[1].has_failed, each[0]))[:most]
    return _present(
        id=batch.id,
        state=batch.state,
        created_at=batch.created_at.isoformat(timespec="seconds"),
        total=headway.items,
        succeeded=headway.succeeded,
        failed=headway.failed,
        running=headway.running,
        progress=round(headway.progress, 3),
        spent=_amounts(headway.spent) or None,
        perhaps_billed=_amounts(headway.perhaps) or None,
        items=[_piece_facts(studio, number, piece) for number, piece in numbered],
        items_left_out=len(batch.pieces) - len(numbered) or None,
    )


def _piece_facts(studio: Studio, number: int, piece: Piece) -> dict[str, Any]:
    job = piece.job
    return _present(
        number=number,
        place=piece.item.place,
        prompt=piece.prompt if len(piece.prompt) <= 200 else piece.prompt[:199] + "…",
        state=str(job.state),
        job_id=job.id,
        provider=job.provider,
        model=job.model,
        images=[
            _present(id=image.id, path=str(path) if (path := studio.path(image)) else None, url=studio.link(image), uri=image_uri(image))
            for image in job.images
        ],
        error=failure_facts(job.failure) if job.failure is not None else None,
        tries=piece.tries if piece.tries > 1 else None,
    )


def batch_estimate_facts(estimate: BatchEstimate) -> dict[str, Any]:
    """Who would draw how many pictures, what would be changed, and what it would cost."""
    bill, objection = estimate.bill, estimate.objection
    return _present(
        pictures=bill.pictures,
        by_model=dict(bill.by_model),
        estimate=_amounts(bill.costs),
        unknown_prices=list(bill.unknown) or None,
        adjustments=[{"field": each.field, "message": each.message, "items": number} for each, number in estimate.adjustments.items()],
        needs_confirmation=estimate.needs_confirmation or None,
        would_be_refused={"code": objection.code, "message": objection.message} if objection is not None else None,
    )


def headway_words(headway: Headway) -> str:
    """How far a batch has come, in a line."""
    spent = " + ".join(f"{micros / 1_000_000:.4f} {currency}" for currency, micros in headway.spent.items())
    parts = [f"{headway.succeeded} of {headway.items} drawn", f"{headway.running} under way" if headway.running else ""]
    return ", ".join(filter(None, [*parts, f"{headway.failed} failed" if headway.failed else "", spent]))


def _amounts(sums: Mapping[str, int]) -> dict[str, float]:
    """Units of each currency."""
    return {currency: micros / 1_000_000 for currency, micros in sums.items()}


def ranked_facts(ranked: Ranked) -> dict[str, Any]:
    """How well a model fits a request, and why."""
    return {
        "provider": ranked.candidate.catalogue.provider,
        "model": ranked.candidate.model.id,
        "points": round(ranked.score, 2),
        "reasons": [{"points": round(point.value, 2), "words": point.words} for point in ranked.points],
    }


def library_facts(styles: Mapping[str, Style], templates: Mapping[str, Template]) -> dict[str, Any]:
    """Styles for every model by key, and templates with what they take."""
    takes = {key: "; ".join(variable.words for variable in template.variables) for key, template in templates.items()}
    return {
        "styles": {key: style.label for key, style in styles.items()},
        "templates": {key: {"title": template.title, "variables": takes[key]} for key, template in templates.items()},
    }


def style_facts(style: Style) -> dict[str, Any]:
    """One style, and what is written into prompts for it."""
    return _present(key=style.key, label=style.label, phrase=style.phrase, phrase_zh=style.phrase_zh or None, file=style.source and str(style.source))


def template_facts(template: Template) -> dict[str, Any]:
    """One template, and what its variables take."""
    variables = {
        variable.name: _present(
            type=variable.kind,
            description=variable.description or None,
            required=True if variable.default is None else None,
            default=variable.default,
            choices=list(variable.choices) or None,
            min=variable.least,
            max=variable.most,
        )
        for variable in template.variables
    }
    settings = ("provider", "model", "style", "resolution", "negative_prompt", "quality", "background", "output_format")
    return {
        "template": template.key,
        "title": template.title,
        "description": template.description,
        "prompt": template.prompt,
        "variables": variables,
        **{name: value for name in settings if (value := getattr(template, name))},
        **_present(file=str(template.source) if template.is_own else None),
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


def comparison_facts(found: Comparison) -> dict[str, Any]:
    """The table of models of one provider, held against its service's list."""
    return _present(
        provider=found.provider,
        ok=found.ok,
        gone=list(found.gone),
        new=list(found.new),
        ending=[{"model": model.id, "ends": model.ends.isoformat()} for model in found.ending if model.ends is not None],
        message=found.words or None,
    )


def finding_facts(found: Finding) -> dict[str, Any]:
    """What became of one fault that a provider was tried with."""
    return {
        "what": found.what,
        "ok": not found.broken,
        "error": found.code or None,
        "retryable": found.again,
        "may_have_been_billed": found.billed,
        "calls": found.calls,
        "message": found.message,
        "broken": list(found.broken),
    }


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
