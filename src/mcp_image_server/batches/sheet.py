"""The contact sheet of a batch."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from math import ceil, sqrt
from typing import TYPE_CHECKING

from anyio import to_thread

from ..errors import NotFoundError
from ..models import Drawn, Image, ImageRequest, Job, JobState
from ..transforming import MODEL, PROVIDER
from .batch import Batch

if TYPE_CHECKING:
    from ..store import Store

MAX_TILES = 400
"""Pictures on one sheet."""

Read = Callable[[Image], Awaitable[bytes]]
"""The bytes of a picture, small."""


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A contact sheet in the store, and the job that stands for the making of it."""

    job: Job
    image: Image


async def draw_sheet(batch: Batch, store: Store, read: Read, *, now: datetime) -> Sheet | None:
    """All pictures of a batch on one, with their numbers; None where there are fewer than two.

    Raises:
        StorageError: it cannot be stored.
    """
    from .. import __version__
    from ..jobs.work import DECODING, write_picture
    from ..pictures import Tile, contact_sheet, process

    shown = [(number, image) for number, piece in enumerate(batch.pieces, 1) for image in piece.job.images]
    if len(shown) < 2:
        return None
    several = len({(image.provider, image.model) for _, image in shown}) > 1
    tiles = []
    for number, image in shown[:MAX_TILES]:
        try:
            data = await read(image)
        except NotFoundError:
            data = b""  # which becomes a crossed square
        tiles.append(Tile(data=data, caption=f"{number} · {image.model if several else image.prompt}"))
    columns = max(4, ceil(sqrt(len(tiles))))
    words = f"Contact sheet of {batch.id}: " + (f"{len(tiles)} pictures" if len(tiles) == len(shown) else f"{len(tiles)} of {len(shown)} pictures")
    facts = {"prompt": words, "software": f"image-gen-mcp-server {__version__}", "digital_source_type": "compositeSynthetic"}
    drawn = await to_thread.run_sync(lambda: contact_sheet(tiles, columns, 256 if columns <= 12 else 160), limiter=DECODING)
    processed = await to_thread.run_sync(process, drawn, facts, limiter=DECODING)
    job = Job(
        id=secrets.token_hex(8),
        principal=batch.principal,
        state=JobState.SUCCEEDED,
        request=ImageRequest(prompt=words, file_prefix="contact_sheet", parents=tuple(image.id for _, image in shown[:MAX_TILES])),
        provider=PROVIDER,
        model=MODEL,
        store_url=store.url,
        progress=1.0,
        created_at=now,
        finished_at=now,
    )
    image, _ = await write_picture(job, 0, Drawn(data=drawn), processed, [store], now)
    return Sheet(job=job, image=image)
