"""Whether history and store agree, down to each byte."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from anyio import to_thread

from ..errors import NotFoundError
from ..store import Store, piece_key, preview_key

if TYPE_CHECKING:
    from ..history import History

STALE_WRITE = 60.0
"""Seconds after which a piece of a write is nobody's any more."""

_OUR_NAME = re.compile(r"(?:^|[_/])([0-9a-f]{16})-\d+\.\w+$")
"""The end of every key we give out: the job, and which of its pictures."""

_PREVIEW = re.compile(re.escape(preview_key("#")).replace(r"\#", "([0-9a-f]{16})") + "$")

_PIECE = re.compile(re.escape(piece_key("#", "")).replace(r"\#", "([0-9a-f]{32})"))


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What was found. Entries are image ids or keys."""

    images: int = 0
    missing: tuple[str, ...] = ()
    """Recorded, but the file is gone."""
    damaged: tuple[str, ...] = ()
    """Recorded, but the bytes are not those that were stored."""
    unrecorded: tuple[str, ...] = ()
    """Files that look like ours, but no record knows them."""
    removed: tuple[str, ...] = ()
    """Pieces of writes that a crash cut off, of uploads that are over, and looks at work that has ended, cleaned away."""

    @property
    def ok(self) -> bool:
        """They agree."""
        return not (self.missing or self.damaged or self.unrecorded)


async def verify(history: History, open_store: Callable[[str], Store], save_url: str, *, principal: str | None) -> Verification:
    """What history and stores say of each other.

    Args:
        save_url: a store to look through although no picture may be in it.
        principal: whose pictures; None: everybody's.
    """
    count = 0
    missing: list[str] = []
    damaged: list[str] = []
    known: set[str] = set()
    stores = {save_url}
    async for image in history.all_images(principal):
        count += 1
        stores.add(image.store_url)
        known |= {image.key, image.thumbnail_key or ""}
        try:
            data = await open_store(image.store_url).get(image.key)
        except NotFoundError:
            missing.append(image.id)
            continue
        if await to_thread.run_sync(_digest, data) != image.sha256:
            damaged.append(image.id)
    unrecorded: list[str] = []
    removed: list[str] = []
    for url in sorted(stores):
        store = open_store(url)
        removed += await store.sweep(older_than_seconds=STALE_WRITE)
        keys = await store.keys()
        uploads = await history.uploads.on_the_way(now=datetime.now(UTC))  # asked for now, so that none that has a piece among the keys is missing
        for key in keys:
            if await _is_over(history, uploads, key):
                await store.delete(key)
                removed.append(key)
            elif key not in known and (match := _OUR_NAME.search(key)) and await _has_ended(history, match[1]):
                unrecorded.append(key)
    return Verification(images=count, missing=tuple(missing), damaged=tuple(damaged), unrecorded=tuple(unrecorded), removed=tuple(removed))


async def _is_over(history: History, uploads: Collection[str], key: str) -> bool:
    """It is of use only while something is under way that is not any more."""
    if match := _PIECE.match(key):
        return match[1] not in uploads
    match = _PREVIEW.match(key)
    return match is not None and await _has_ended(history, match[1])


async def _has_ended(history: History, job_id: str) -> bool:
    """Nobody works on it any more."""
    job = await history.job(job_id)
    return job is None or job.state.ended


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
