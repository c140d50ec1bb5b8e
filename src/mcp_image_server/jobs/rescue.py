"""Pictures that their store could not take when they were drawn, brought there once it can."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import NotFoundError
from ..models import Image
from ..store import Store

if TYPE_CHECKING:
    from ..history import History


async def bring_home(history: History, open_store: Callable[[str], Store], *, rescue_url: str, save_url: str) -> list[Image]:
    """The pictures that were brought from the one store to the other, as they are recorded now. They are never without a file.

    Args:
        rescue_url: where a job puts pictures that their own store cannot take.
        save_url: where they belong.

    Raises:
        StorageError: one of the stores cannot be used; what was brought until then stays there.
    """
    rescued = [image for image in await history.library.kept_in(rescue_url) if rescue_url != save_url]
    brought: list[Image] = []
    for image in rescued:
        source, target = open_store(rescue_url), open_store(save_url)
        keys = [key for key in (image.key, image.thumbnail_key) if key is not None]
        try:
            for key in keys:
                await target.put(key, await source.get(key))
        except NotFoundError:  # `verify` says so
            continue
        if moved := await history.library.move(image.id, rescue_url, save_url):
            brought.append(moved)
            for key in keys:
                await source.delete(key)
    return brought
