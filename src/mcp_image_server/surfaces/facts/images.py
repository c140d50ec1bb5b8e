"""Stored pictures as JSON, and which are wanted."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from ...errors import RequestError
from ...models import AspectRatio, Image, ImageFilter, Lineage, Statistics, Tally, parse_shape
from ...policy.budget import MICROS
from ...studio import Studio
from .present import amounts, present

if TYPE_CHECKING:
    from ...pictures import Inspection


def image_facts(studio: Studio, image: Image, *, paths: bool = True) -> dict[str, Any]:
    """One entry of `images`.

    Args:
        paths: it is told where on this machine the file lies.
    """
    path = studio.images.path(image) if paths else None
    return present(
        id=image.id,
        provider=image.provider,
        mime_type=image.media_type,
        file_name=image.key,
        local_path=str(path) if path else None,
        url=studio.images.link(image),
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


def found_facts(studio: Studio, image: Image, *, paths: bool = True) -> dict[str, Any]:
    """One entry of a search: the picture, and how it came about."""
    return {
        **image_facts(studio, image, paths=paths),
        "prompt": image.prompt,
        "job_id": image.job_id,
        "created_at": image.created_at.isoformat(timespec="seconds"),
        **present(
            title=image.title or None,
            tags=list(image.tags) or None,
            favourite=image.favourite or None,
            shared_with=image.team,
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
    return {"pictures": tally.pictures, "size_bytes": tally.size_bytes, "spent": amounts(tally.spent)}


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


def image_uri(image: Image) -> str:
    """The name of the picture as an MCP resource."""
    return f"image://{image.id}"


MAX_TAGS = 20
"""That are looked for at once."""


def image_filter(
    *, since: str = "", until: str = "", ratio: str = "", min_cost: float | None = None, max_cost: float | None = None, **fields: Any
) -> ImageFilter:
    """Which images are wanted, as people write it.

    Args:
        since: a day or a moment in ISO 8601; without an offset, in this machine's time.
        until: the same; of a day, its end.
        ratio: such as 16:9; a size is as good.
        min_cost: in units of the currency in which it was billed.
        max_cost: the same.
        fields: the others of `ImageFilter`, where what is empty means any.

    Raises:
        RequestError: a word cannot be read, or there are too many tags.
    """
    if len(tags := fields.get("tags", ())) > MAX_TAGS:
        raise RequestError(f"These are {len(tags):,} tags; look for at most {MAX_TAGS}.")
    try:
        shape = parse_shape(ratio)
        begin, end = _moment(since), _moment(until, ends=True)
    except ValueError as error:
        raise RequestError(f"{error}.") from error
    costs: dict[str, Any] = {name: round(cost * MICROS) for name, cost in (("cost_from", min_cost), ("cost_to", max_cost)) if cost is not None}
    wanted: dict[str, Any] = {name: value for name, value in fields.items() if value or type(value) is int}
    return ImageFilter(since=begin, until=end, ratio=AspectRatio(width=shape.width, height=shape.height) if shape else None, **costs, **wanted)


def _moment(text: str, *, ends: bool = False) -> datetime | None:
    """The moment; of a day its beginning, or its end."""
    text = text.strip()
    whole = timedelta(days=1 if ends and len(text) <= len("2026-12-31") else 0)
    try:
        return datetime.fromisoformat(text).astimezone() + whole if text else None
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is no day; write 2026-12-31, or a moment such as 2026-12-31T18:00+08:00") from None
