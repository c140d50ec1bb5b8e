"""Batches as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...models import BatchSummary, Headway
from ...studio import Studio
from .images import image_facts, image_uri
from .jobs import VERSION, adjustment_facts, failure_facts, objection_facts
from .present import amounts, amounts_words, present

if TYPE_CHECKING:
    from ...batches import Batch, BatchEstimate, Piece


def batch_body(studio: Studio, batch: Batch, *, most: int | None = None, paths: bool = True) -> dict[str, Any]:
    """What a call about a batch answers.

    Args:
        most: so many items are told of, those without pictures first; None: all.
        paths: it is told where on this machine the files lie.
    """
    failed = batch.headway.failed
    words = f"{failed} of {batch.headway.items} items have ended without a picture; `batch.items` says why. They can be entered anew with `retry`."
    return {
        "version": VERSION,
        "ok": batch.state != "incomplete",
        "images": [image_facts(studio, batch.sheet, paths=paths)] if batch.sheet is not None else [],
        "error": {"code": "incomplete", "message": words, "details": {}} if batch.state == "incomplete" else None,
        "batch": batch_facts(studio, batch, most=most, paths=paths),
    }


def batch_facts(studio: Studio, batch: Batch, *, most: int | None = None, paths: bool = True) -> dict[str, Any]:
    """The entry `batch`: how far it has come, what it cost, and its items, each with its number from 1."""
    numbered = sorted(enumerate(batch.pieces, 1), key=lambda each: (most is not None and not each[1].has_failed, each[0]))[:most]
    items = [_piece_facts(studio, number, piece, paths=paths) for number, piece in numbered]
    return {**listed_batch_facts(batch), **present(items=items, items_left_out=len(batch.pieces) - len(numbered) or None)}


def listed_batch_facts(batch: BatchSummary) -> dict[str, Any]:
    """One entry of a list of batches."""
    headway = batch.headway
    return present(
        id=batch.id,
        state=batch.state,
        created_at=batch.created_at.isoformat(timespec="seconds"),
        total=headway.items,
        succeeded=headway.succeeded,
        failed=headway.failed,
        running=headway.running,
        progress=round(headway.progress, 3),
        spent=amounts(headway.spent) or None,
        perhaps_billed=amounts(headway.perhaps) or None,
    )


def _piece_facts(studio: Studio, number: int, piece: Piece, *, paths: bool) -> dict[str, Any]:
    job = piece.job
    return present(
        number=number,
        place=piece.item.place,
        prompt=piece.prompt if len(piece.prompt) <= 200 else piece.prompt[:199] + "…",
        state=str(job.state),
        job_id=job.id,
        provider=job.provider,
        model=job.model,
        images=[
            present(
                id=image.id,
                path=str(path) if paths and (path := studio.images.path(image)) else None,
                url=studio.images.link(image),
                uri=image_uri(image),
            )
            for image in job.images
        ],
        error=failure_facts(job.failure) if job.failure is not None else None,
        tries=piece.tries if piece.tries > 1 else None,
    )


def batch_estimate_facts(estimate: BatchEstimate) -> dict[str, Any]:
    """Who would draw how many pictures, what would be changed, and what it would cost."""
    bill, changes = estimate.bill, estimate.adjustments
    return present(
        pictures=bill.pictures,
        by_model=dict(bill.by_model),
        estimate=amounts(bill.costs),
        unknown_prices=list(bill.unknown) or None,
        adjustments=[{**facts, "items": number} for facts, number in zip(adjustment_facts(changes), changes.values(), strict=True)],
        needs_confirmation=estimate.needs_confirmation or None,
        would_be_refused=objection_facts(estimate.objection),
    )


def headway_words(headway: Headway) -> str:
    """How far a batch has come, in a line."""
    parts = [f"{headway.succeeded} of {headway.items} drawn", f"{headway.running} under way" if headway.running else ""]
    return ", ".join(filter(None, [*parts, f"{headway.failed} failed" if headway.failed else "", amounts_words(headway.spent)]))
