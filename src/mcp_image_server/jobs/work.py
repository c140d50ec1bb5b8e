"""What a service returned becomes stored pictures: looked at, described, written, and only then recorded by the caller."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from anyio import CapacityLimiter, to_thread

from .. import __version__, telemetry
from ..errors import BadReplyError, ConfigError, ImageServerError, StorageError
from ..models import Adjustment, Catalogue, Cost, Drawn, Generated, Image, ImageRequest, Job, Model, Picture, Price
from ..pictures import (
    Ingredient,
    NotAPictureError,
    Processed,
    Signing,
    Story,
    aigc_label,
    converted,
    process,
    sign,
    thumbnail,
)
from ..policy.budget import estimate
from ..store import Store, folder_url, image_key, input_key, preview_key, thumbnail_key

DECODING = CapacityLimiter(2)
"""Pictures decoded at once: one that is as large as we take needs up to a gigabyte."""


def image_id(job_id: str, index: int) -> str:
    """The id of a job's picture, known before it is drawn: work done again writes the same names, and pictures found after a crash can be adopted."""
    return f"{job_id}-{index + 1}"


@dataclass(frozen=True, kw_only=True)
class Labelling:
    """What the operator wants written into pictures."""

    prompt: bool = True
    producer: str = ""
    """Who is named as the producer in the label of GB 45438-2025, which every picture then has; empty: the service that drew, where an AI model did."""
    signing: Signing | None = None


PLAIN = Labelling()


def provenance(job: Job, catalogue: Catalogue, drawn: Drawn, index: int, labelling: Labelling) -> dict[str, str]:
    """What is written into the picture's file about where it comes from: the same for work done again, so that the same picture is the same file."""
    facts = {
        "prompt": job.request.prompt if labelling.prompt else None,
        "original_prompt": job.request.original_prompt if labelling.prompt else None,
        "provider": job.provider,
        "model": job.model,
        "seed": drawn.seed,
        "job_id": job.id,
        "created": job.created_at.isoformat(timespec="seconds"),
        "software": f"image-gen-mcp-server {__version__}",
        "digital_source_type": catalogue.digital_source_type,
        "attribution": catalogue.attribution,
    }
    if labelling.producer or "rainedAlgorithmicMedia" in catalogue.digital_source_type:
        facts["aigc"] = aigc_label(labelling.producer or catalogue.title, image_id(job.id, index))
    return {name: str(value) for name, value in facts.items() if value not in (None, "")}


@dataclass(frozen=True, kw_only=True)
class Kept:
    """The pictures of a job, safe in a store."""

    images: tuple[Image, ...]
    adjustments: tuple[Adjustment, ...] = ()


async def keep(
    job: Job,
    catalogue: Catalogue,
    drawn: Sequence[Drawn],
    stores: Sequence[Store],
    *,
    now: datetime,
    labelling: Labelling = PLAIN,
    patience: float = 2.0,
) -> Kept:
    """Check, describe, sign and store what the service returned. What is unusable, or finds no room, does not take the others with it.

    Args:
        stores: where to write, best first; a paid picture goes to the next one rather than being lost.
        patience: seconds until a picture that no store took is tried again; the next times longer.

    Raises:
        BadReplyError: nothing that came back is a picture.
        StorageError: no store could take any.
    """
    import stamina

    images: list[Image] = []
    words: list[Adjustment] = []
    complaint: NotAPictureError | None = None
    lost: StorageError | None = None
    for index, one in enumerate(drawn):
        try:
            processed = await to_thread.run_sync(process, one.data, provenance(job, catalogue, one, index, labelling), limiter=DECODING)
        except NotAPictureError as error:
            complaint = error
            words.append(Adjustment(field="images", message=f"Picture {index + 1} of {len(drawn)} was unusable: {error}"))
            continue
        processed, unsigned = await signed(processed, labelling.signing, _story(job, catalogue))
        try:
            # Nobody draws it a second time for nothing, so what no store takes is held in hand for a little while; once that was in vain, the rest is not.
            tries = stamina.retry_context(on=StorageError, attempts=4 if lost is None else 1, timeout=60, wait_initial=patience, wait_max=10)
            async for attempting in tries:
                with attempting:
                    image, elsewhere = await write_picture(job, index, one, processed, stores, now)
        except StorageError as error:
            lost = error
            words.append(Adjustment(field="images", message=f"Picture {index + 1} of {len(drawn)} is lost: {error.message}"))
            continue
        images.append(image)
        words += [adjustment for adjustment in (unsigned, elsewhere) if adjustment is not None and adjustment not in words]
    if not images and lost is not None:
        raise lost
    if not images:
        reason = str(complaint) if complaint else "the reply held no picture"
        raise BadReplyError(
            f"{job.provider} answered, but {reason}. The call may have been billed; trying again is a new call.",
            provider=job.provider,
            may_have_been_billed=True,
        ) from complaint
    return Kept(images=tuple(images), adjustments=tuple(words))


async def adopt(job: Job, stores: Sequence[Store], *, now: datetime) -> tuple[Image, ...]:
    """The pictures of a job that were stored just before a crash, in order; empty when there are none.

    Args:
        stores: where `keep` may have put them.
    """
    images: list[Image] = []
    for index in range(job.request.count):
        stem = image_key(job.request.file_prefix, job.provider, image_id(job.id, index), "").rpartition(".")[0]
        for store, key in [(each, key) for each in stores for key in await each.find(stem)]:
            try:
                processed = await to_thread.run_sync(process, await store.get(key), None, limiter=DECODING)
            except NotAPictureError:
                continue
            image, _ = await write_picture(job, index, Drawn(data=processed.data), processed, [store], now)
            images.append(image)
            break
    return tuple(images)


async def signed(processed: Processed, signing: Signing | None, story: Story) -> tuple[Processed, Adjustment | None]:
    """The picture with a signed manifest, where the operator wants one; as it was, and why, where it could not be signed."""
    if signing is None:
        return processed, None
    try:
        data = await to_thread.run_sync(sign, processed.data, processed.facts.media_type, signing, story, limiter=DECODING)
    except ConfigError as error:
        return processed, Adjustment(field="signature", message=f"The picture is stored without a signature: {error.message}.")
    facts = replace(processed.facts, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    return replace(processed, data=data, facts=facts), None


def _story(job: Job, catalogue: Catalogue) -> Story:
    seen = tuple(Ingredient(data=picture.data, media_type=picture.media_type, how="inputTo") for picture in job.request.inputs if picture.data)
    return Story(title=job.id, agent=f"{catalogue.title} {job.model}", digital_source_type=catalogue.digital_source_type, ingredients=seen)


async def write_picture(
    job: Job, index: int, drawn: Drawn, processed: Processed, stores: Sequence[Store], now: datetime
) -> tuple[Image, Adjustment | None]:
    """The job's picture of that number, stored with its thumbnail; and a word where it went to another store than the first."""
    identity = image_id(job.id, index)
    key = image_key(job.request.file_prefix, job.provider, identity, processed.facts.media_type)
    adjustment: Adjustment | None = None
    for position, store in enumerate(stores):
        try:
            await store.put(key, processed.data)
            await store.put(thumbnail_key(identity), processed.thumbnail.data)
            telemetry.STORED_BYTES.add(len(processed.data) + len(processed.thumbnail.data), provider=job.provider)
        except StorageError as error:
            if position == len(stores) - 1:
                raise
            adjustment = Adjustment(field="save_dir", message=f"{error.message} The pictures were saved to {stores[position + 1].url} instead.")
            continue
        break
    image = Image(
        id=identity,
        job_id=job.id,
        principal=job.principal,
        provider=job.provider,
        model=job.model,
        prompt=job.request.prompt,
        store_url=store.url,
        key=key,
        thumbnail_key=thumbnail_key(identity),
        media_type=processed.facts.media_type,
        size=processed.facts.size,
        size_bytes=len(processed.data),
        sha256=processed.facts.sha256,
        thumbhash=processed.thumbnail.thumbhash,
        seed=drawn.seed,
        revised_prompt=drawn.revised_prompt,
        parents=job.request.parents,
        created_at=now,
    )
    return image, adjustment


async def copy_out(job: Job, images: Sequence[Image], open_store: Callable[[str], Store]) -> tuple[Adjustment, ...]:
    """Writes the copies that were asked for, in the format of their name's ending; says so where one could not be written."""
    if job.request.save_as is None:
        return ()
    words = []
    for index, image in enumerate(images):
        path = Path(job.request.save_as)
        if index:
            path = path.with_stem(f"{path.stem}-{index + 1}")
        try:
            data = await open_store(image.store_url).get(image.key)
            data = await to_thread.run_sync(converted, data, path.suffix, limiter=DECODING)
            # Written and renamed by the store's own way, so that nobody ever sees half a copy.
            await open_store(folder_url(path.parent)).put(path.name, data)
        except ImageServerError as error:
            words.append(Adjustment(field="output_filename", message=f"No copy was written to {path}; the picture itself is stored. {error.message}"))
    return tuple(words)


def cost_of(job: Job, generated: Generated, model: Model, price: Price | None) -> Cost | None:
    """What the job cost: as the service reported it, else by the list price; None where nothing is known.

    Args:
        price: the operator's own, in place of the model's.
    """
    return generated.cost or estimate(replace(job.request, count=len(generated.images)), model, price)


async def keep_inputs(request: ImageRequest, store: Store) -> None:
    """Writes the pictures that go in, so that the job can be begun again from the record alone."""
    for picture in request.inputs:
        key = input_key(picture.sha256)
        if await store.size(key) is None:
            await store.put(key, picture.data)


async def with_inputs(job: Job, store: Store) -> Job:
    """The job with the bytes of the pictures that go in, which the record does not hold.

    Raises:
        NotFoundError: one is gone.
    """

    async def filled(picture: Picture | None) -> Picture | None:
        return picture if picture is None or picture.data else replace(picture, data=await store.get(input_key(picture.sha256)))

    request = job.request
    if all(picture.data for picture in request.inputs):
        return job
    images = [await filled(picture) for picture in request.images]
    request = replace(
        request,
        images=tuple(picture for picture in images if picture is not None),
        mask=await filled(request.mask),
        style_image=await filled(request.style_image),
    )
    return replace(job, request=request)


async def show(job: Job, data: bytes, store: Store) -> str:
    """Keeps a picture of the work so far, small; its key in the store. One takes the place of the other."""
    small = await to_thread.run_sync(thumbnail, data, limiter=DECODING)
    key = preview_key(job.id)
    await store.put(key, small.data)
    return key
