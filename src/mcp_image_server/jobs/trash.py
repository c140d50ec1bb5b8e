"""Deleted pictures, removed for good."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ..errors import ImageServerError
from ..models import Image

if TYPE_CHECKING:
    from ..history import History
    from ..store import Store


async def empty_trash(history: History, open_store: Callable[[str], Store], *, older_than: timedelta) -> list[Image]:
    """The pictures that had been in the trash for longer than that, and are now gone, files and all.

    Raises:
        StorageError: some files could not be removed; those of the other pictures are.
    """
    removed: list[Image] = []
    trouble: ImageServerError | None = None
    for image in await history.library.condemn(deleted_before=datetime.now(UTC) - older_than):
        try:
            store = open_store(image.store_url)
            for key in filter(None, (image.key, image.thumbnail_key)):
                await store.delete(key)
            removed.append(image)
        except ImageServerError as error:
            trouble = error
    if removed:
        await history.library.forget([image.id for image in removed])
    if trouble is not None:
        raise trouble
    return removed
