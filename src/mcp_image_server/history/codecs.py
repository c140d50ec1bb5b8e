"""Our values as rows and JSON, and back, without loss. The bytes of input images are the one exception: the store has them.

Reading is written out field by field, so that a renamed field is a type error here and not a surprise in an old database.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import RowMapping

from ..models import (
    Adjustment,
    AspectRatio,
    Breaker,
    Cost,
    Edges,
    Event,
    Failure,
    Image,
    ImageRequest,
    Job,
    JobState,
    Offer,
    Operation,
    Picture,
    Shape,
    Size,
    Wording,
)

Json = dict[str, Any]


def request_to_json(request: ImageRequest) -> Json:
    """The request with its input images described by media type, size and hash, without their bytes."""
    return {
        "prompt": request.prompt,
        "original_prompt": request.original_prompt,
        "provider": request.provider,
        "model": request.model,
        "negative_prompt": request.negative_prompt,
        "shape": _shape_to_json(request.shape),
        "count": request.count,
        "seed": request.seed,
        "style": request.style,
        "quality": request.quality,
        "background": request.background,
        "output_format": request.output_format,
        "output_compression": request.output_compression,
        "moderation": request.moderation,
        "action": request.action and request.action.value,
        "images": [_picture_to_json(picture) for picture in request.images],
        "mask": request.mask and _picture_to_json(request.mask),
        "style_image": request.style_image and _picture_to_json(request.style_image),
        "extend": request.extend and asdict(request.extend),
        "strength": request.strength,
        **({"economy": True} if request.economy else {}),
        **({"wording": asdict(request.wording)} if request.wording else {}),
        "parents": list(request.parents),
        "file_prefix": request.file_prefix,
        "save_as": request.save_as,
        "options": dict(request.options),
        "polling": dict(request.polling),
    }


def request_from_json(data: Json) -> ImageRequest:
    """The request; its input images have no bytes."""
    return ImageRequest(
        prompt=data["prompt"],
        original_prompt=data.get("original_prompt"),
        provider=data["provider"],
        model=data["model"],
        negative_prompt=data["negative_prompt"],
        shape=_shape_from_json(data["shape"]),
        count=data["count"],
        seed=data["seed"],
        style=data["style"],
        quality=data["quality"],
        background=data["background"],
        output_format=data["output_format"],
        output_compression=data["output_compression"],
        moderation=data["moderation"],
        action=Operation(data["action"]) if data.get("action") else None,
        images=tuple(_picture_from_json(picture) for picture in data["images"]),
        mask=data["mask"] and _picture_from_json(data["mask"]),
        style_image=_picture_from_json(data["style_image"]) if data.get("style_image") else None,
        extend=Edges(**data["extend"]) if data.get("extend") else None,
        strength=data.get("strength"),
        economy=data.get("economy", False),
        wording=Wording(**data["wording"]) if data.get("wording") else None,
        parents=tuple(data.get("parents", ())),
        file_prefix=data["file_prefix"],
        save_as=data["save_as"],
        options=data["options"],
        polling=data["polling"],
    )


def _shape_to_json(shape: Shape | None) -> Json | None:
    return None if shape is None else {"kind": "size" if isinstance(shape, Size) else "ratio", "width": shape.width, "height": shape.height}


def _shape_from_json(data: Json | None) -> Shape | None:
    if data is None:
        return None
    kind = Size if data["kind"] == "size" else AspectRatio
    return kind(width=data["width"], height=data["height"])


def _picture_to_json(picture: Picture) -> Json:
    return {
        "media_type": picture.media_type,
        "width": picture.size.width,
        "height": picture.size.height,
        "sha256": picture.sha256,
    }


def _picture_from_json(data: Json) -> Picture:
    return Picture(data=b"", media_type=data["media_type"], size=Size(width=data["width"], height=data["height"]), digest=data["sha256"])


def adjustments_to_json(adjustments: Sequence[Adjustment]) -> list[Json]:
    """What was changed, as the record keeps it."""
    return [{"field": adjustment.field, "message": adjustment.message} for adjustment in adjustments]


def adjustments_from_json(data: list[Json]) -> tuple[Adjustment, ...]:
    """What was changed, read back."""
    return tuple(Adjustment(field=each["field"], message=each["message"]) for each in data)


def failure_to_json(failure: Failure | None) -> Json | None:
    """The failure, as the record keeps it."""
    return (
        None
        if failure is None
        else {
            "code": failure.code,
            "message": failure.message,
            "retryable": failure.retryable,
            "may_have_been_billed": failure.may_have_been_billed,
            "details": dict(failure.details),
        }
    )


def failure_from_json(data: Json | None) -> Failure | None:
    """The failure, read back."""
    return (
        None
        if data is None
        else Failure(
            code=data["code"],
            message=data["message"],
            retryable=data["retryable"],
            may_have_been_billed=data["may_have_been_billed"],
            details=data["details"],
        )
    )


def cost_to_json(cost: Cost | None) -> Json | None:
    """The cost, as the record keeps it."""
    return None if cost is None else {"micros": cost.micros, "currency": cost.currency, "source": cost.source}


def cost_from_json(data: Json | None) -> Cost | None:
    """The cost, read back."""
    return None if data is None else Cost(micros=data["micros"], currency=data["currency"], source=data["source"])


def offer_to_json(offer: Offer) -> Json:
    """The offer, as the record keeps it."""
    return {
        "request": request_to_json(offer.request),
        "provider": offer.provider,
        "model": offer.model,
        "account": offer.account,
        "adjustments": adjustments_to_json(offer.adjustments),
        "estimate": cost_to_json(offer.estimate),
    }


def offer_from_json(data: Json) -> Offer:
    """The offer, read back."""
    return Offer(
        request=request_from_json(data["request"]),
        provider=data["provider"],
        model=data["model"],
        account=data["account"],
        adjustments=adjustments_from_json(data["adjustments"]),
        estimate=cost_from_json(data["estimate"]),
    )


def job_to_row(job: Job) -> Json:
    """The job as columns."""
    return {
        "id": job.id,
        "principal": job.principal,
        "state": job.state.value,
        "provider": job.provider,
        "model": job.model,
        "account": job.account,
        "store_url": job.store_url,
        "request": request_to_json(job.request),
        "pictures": job.request.count,
        "alternates": [offer_to_json(offer) for offer in job.alternates],
        "estimate": cost_to_json(job.estimate),
        "adjustments": adjustments_to_json(job.adjustments),
        "progress": job.progress,
        "message": job.message,
        "events": 0,
        "task_id": job.task_id,
        "request_id": job.request_id,
        "attempts": job.attempts,
        "tries": job.tries,
        "failure": failure_to_json(job.failure),
        "cost": cost_to_json(job.cost),
        "owner": job.owner,
        "cancel_requested": False,
        "created_at": job.created_at,
        "deadline": job.deadline,
        "batch_id": job.batch_id,
        "position": job.position,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
    }


def job_from_row(row: RowMapping, images: tuple[Image, ...] = ()) -> Job:
    """The job of these columns, with its images."""
    return Job(
        id=row["id"],
        principal=row["principal"],
        state=JobState(row["state"]),
        request=request_from_json(row["request"]),
        provider=row["provider"],
        model=row["model"],
        account=row["account"],
        store_url=row["store_url"],
        alternates=tuple(map(offer_from_json, row["alternates"])),
        estimate=cost_from_json(row["estimate"]),
        adjustments=adjustments_from_json(row["adjustments"]),
        progress=row["progress"],
        message=row["message"],
        task_id=row["task_id"],
        request_id=row["request_id"],
        attempts=row["attempts"],
        tries=row["tries"],
        images=images,
        failure=failure_from_json(row["failure"]),
        cost=cost_from_json(row["cost"]),
        owner=row["owner"],
        created_at=row["created_at"],
        deadline=row["deadline"],
        batch_id=row["batch_id"],
        position=row["position"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
    )


def image_to_row(image: Image, position: int) -> Json:
    """The image as columns."""
    return {
        "id": image.id,
        "job_id": image.job_id,
        "position": position,
        "principal": image.principal,
        "provider": image.provider,
        "model": image.model,
        "prompt": image.prompt,
        "store_url": image.store_url,
        "key": image.key,
        "thumbnail_key": image.thumbnail_key,
        "media_type": image.media_type,
        "width": image.size.width,
        "height": image.size.height,
        "size_bytes": image.size_bytes,
        "sha256": image.sha256,
        "thumbhash": image.thumbhash,
        "seed": None if image.seed is None else str(image.seed),
        "revised_prompt": image.revised_prompt,
        "parents": list(image.parents),
        "created_at": image.created_at,
        "title": image.title,
        "favourite": image.favourite,
        "team": image.team,
        "deleted_at": image.deleted_at,
    }


def image_from_row(row: RowMapping, tags: Sequence[str] = ()) -> Image:
    """The image of these columns, with its tags."""
    return Image(
        id=row["id"],
        job_id=row["job_id"],
        principal=row["principal"],
        provider=row["provider"],
        model=row["model"],
        prompt=row["prompt"],
        store_url=row["store_url"],
        key=row["key"],
        thumbnail_key=row["thumbnail_key"],
        media_type=row["media_type"],
        size=Size(width=row["width"], height=row["height"]),
        size_bytes=row["size_bytes"],
        sha256=row["sha256"],
        thumbhash=row["thumbhash"],
        seed=None if row["seed"] is None else int(row["seed"]),
        revised_prompt=row["revised_prompt"],
        parents=tuple(row["parents"]),
        created_at=row["created_at"],
        title=row["title"],
        tags=tuple(tags),
        favourite=row["favourite"],
        team=row["team"],
        deleted_at=row["deleted_at"],
    )


def event_from_row(row: RowMapping) -> Event:
    """The event of these columns."""
    return Event(
        job_id=row["job_id"], sequence=row["sequence"], at=row["at"], progress=row["progress"], message=row["message"], preview_key=row["preview_key"]
    )


def breaker_from_row(row: RowMapping) -> Breaker:
    """The breaker of these columns."""
    return Breaker(**row)
