"""Stored pictures: found, sorted, read, linked to, and thrown away."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from .audit import audit
from .errors import LimitError, NotFoundError, RequestError
from .models import ANY, LOCAL, Action, Caller, Image, ImageFilter, Lineage, Statistics
from .policy.links import is_signed, signature
from .workshop import Workshop, may_change, may_see, seen_by

MAX_MANAGED = 500
"""Pictures that can be tagged, deleted … in one call."""


class Gallery:
    """Stored pictures.

    Args:
        base_url: the address at which this process serves pictures over HTTP, where it does.
    """

    def __init__(self, workshop: Workshop, base_url: str | None = None) -> None:
        self._workshop = workshop
        self._base_url = base_url

    # ------------------------------------------------------------------ finding and sorting

    async def search(
        self, caller: Caller, text: str = "", *, provider: str | None = None, only: ImageFilter = ANY, limit: int = 20, before: str | None = None
    ) -> list[Image]:
        """The pictures that the caller sees (its own, and what its team shares) in whose prompt, title or tags all words of the text stand, newest first.

        Args:
            provider: the same as in `only`.
            before: only those older than the picture of that id, for the next page.
        """
        library = (await self._workshop.history()).library
        only = only if provider is None else replace(only, provider=provider)
        return await library.search(seen_by(caller), text, team=caller.team, only=only, limit=limit, before=before)

    async def get(self, caller: Caller, image_id: str) -> Image:
        """The picture of that id, the caller's own or shared with its team.

        Raises:
            NotFoundError: the caller sees no such picture.
        """
        image = await (await self._workshop.history()).image(image_id)
        if image is None or not may_see(caller, image.principal, image.team):
            raise _no_image(image_id)
        return image

    async def recent(self, caller: Caller, image_id: str) -> Image:
        """Like `get`, but only for as long as MCP_IMAGE_RECORD_TTL says.

        Raises:
            NotFoundError: there is none, or it is too old.
        """
        image = await self.get(caller, image_id)
        ttl = self._workshop.settings.image_record_ttl
        if ttl is not None and image.created_at + timedelta(seconds=ttl) < datetime.now(UTC):
            raise _no_image(image_id)
        return image

    async def of_file(self, caller: Caller, name: str) -> Image:
        """The caller's picture that is stored under that file name.

        Raises:
            NotFoundError: there is none.
        """
        image = await self.get(caller, Path(name).stem.rpartition("_")[2])
        if image.key != name:
            raise _no_image(name)
        return image

    async def of_link(self, name: str, expires: str | None, proof: str | None) -> Image:
        """The picture that a link of ours leads to, whoever follows it.

        Raises:
            NotFoundError: the link is not ours, holds no longer, or the picture is gone.
        """
        if not self.link_is_good(name, expires, proof):
            raise _no_image(name)
        return await self.of_file(Caller(), name)

    async def manage(self, caller: Caller, image_ids: Sequence[str], action: Action, *, tags: Sequence[str] = (), title: str = "") -> list[Image]:
        """The caller's pictures as they are after the action. Done to all of them or to none; doing it twice does nothing.

        What is deleted is found nowhere from then on. It can be got back with `undelete` for as many days as MCP_TRASH_DAYS says.

        Args:
            tags: for `tag` and `untag`.
            title: for `rename`; empty: none any more.

        Raises:
            RequestError: it cannot be done like this; the message says why.
            NotFoundError: the caller has no such picture.
        """
        if not image_ids or len(image_ids) > MAX_MANAGED:
            raise RequestError(f"Name 1 to {MAX_MANAGED} pictures at a time, not {len(image_ids)}.")
        if (action in ("tag", "untag")) != bool(tags):
            raise RequestError(f"{action} needs tags." if not tags else f"{action} takes no tags.")
        if title and action != "rename":
            raise RequestError(f"{action} takes no title.")
        may_change(caller)
        if action == "share" and caller.team is None:
            raise RequestError("You are in no team, so there is nobody to share with; the operator puts you into one.", code="no_team")
        library = (await self._workshop.history()).library
        changed = await library.manage(seen_by(caller), image_ids, action, tags=tags, title=title, team=caller.team, now=datetime.now(UTC))
        if action in ("share", "unshare", "delete", "undelete"):
            audit(f"images.{action}", principal=caller.principal, images=list(image_ids), team=caller.team if action == "share" else None)
        return changed

    async def lineage(self, caller: Caller, image_id: str) -> Lineage:
        """What the caller's picture was made from, and what was made from it.

        Raises:
            NotFoundError: the caller has no such picture.
        """
        image = await self.get(caller, image_id)
        return await (await self._workshop.history()).library.lineage(seen_by(caller), image, team=caller.team)

    async def statistics(self, caller: Caller, *, days: int | None = None) -> Statistics:
        """The caller's pictures and what they cost, of so many days or of all time."""
        since = None if days is None else datetime.now(UTC) - timedelta(days=days)
        return await (await self._workshop.history()).library.statistics(seen_by(caller), since=since)

    async def purge(self, caller: Caller, *, everything: bool = False) -> list[Image]:
        """What was removed from the trash for good, files and all: what is there longer than MCP_TRASH_DAYS says, or everything.

        Raises:
            RequestError: the caller may not.
            StorageError: some files could not be removed; those of the other pictures are.
        """
        if not caller.is_admin:
            raise RequestError("Only an administrator may empty the trash.", code="forbidden")
        history = await self._workshop.history()
        from .jobs.trash import empty_trash

        age = timedelta() if everything else timedelta(days=self._workshop.settings.trash_days)
        removed = await empty_trash(history, self._workshop.store, older_than=age)
        audit("trash.emptied", principal=caller.principal, images=len(removed))
        return removed

    # ------------------------------------------------------------------ bytes

    async def read(self, image: Image, *, thumbnail: bool = False) -> bytes:
        """The picture's bytes, or those of its WebP thumbnail (at most 512 pixels and 100 kB).

        Raises:
            NotFoundError: the file is gone.
        """
        try:
            return await self._workshop.store(image.store_url).get(_key(image, thumbnail=thumbnail))
        except NotFoundError as error:
            path = self._told_path(image)
            raise NotFoundError(
                f"The file of image {image.id} is gone: {path or image.key}. It was moved or deleted after it was made.",
                code="file_not_found",
                details={"image_id": image.id, "local_path": str(path) if path else None},
            ) from error

    async def read_limited(self, image: Image, limit: int) -> bytes:
        """The picture's bytes, if they are few enough to be sent inline.

        Raises:
            LimitError: they are not; the link is in the message.
        """
        if image.size_bytes > limit:
            where = self.link(image) or self._told_path(image)
            hint = f" Use images[].url to access the file directly: {where}" if where is not None else ""
            raise LimitError(
                f"Image {image.id} has {image.size_bytes} bytes; inline at most {limit} are sent.{hint}",
                code="payload_too_large",
                details={"image_id": image.id, "size_bytes": image.size_bytes, "max_bytes": limit},
            )
        return await self.read(image)

    def _told_path(self, image: Image) -> Path | None:
        """Where the picture lies, for an error: nobody but the operator is told what lies where on this machine."""
        return self.path(image) if image.principal == LOCAL else None

    # ------------------------------------------------------------------ where they are

    def path(self, image: Image, *, thumbnail: bool = False) -> Path | None:
        """Where the picture or its thumbnail lies on this machine, absolute; None when it is stored elsewhere."""
        return self._workshop.store(image.store_url).path(_key(image, thumbnail=thumbnail))

    @property
    def address(self) -> str | None:
        """Where this server is reached over HTTP; None where nobody can say."""
        return self._workshop.settings.public_base_url or self._base_url

    def link(self, image: Image) -> str | None:
        """Where the picture can be fetched over HTTP; None when nobody serves it. Signed where the server asks who comes."""
        if self.address is None:
            return None
        url = f"{self.address}/images/{quote(image.key)}"
        proof = self._proof(image)
        return f"{url}?{proof}" if proof else url

    def page_link(self, image: Image, *, thumbnail: bool = False) -> str:
        """The same link from a page of this server itself, without host."""
        query = "&".join(part for part in ("thumbnail=1" if thumbnail else "", self._proof(image)) if part)
        return f"/images/{quote(image.key)}" + (f"?{query}" if query else "")

    def link_is_good(self, name: str, expires: str | None, proof: str | None) -> bool:
        """Whether this link to a picture was given out by us and still holds, or needs no proof."""
        return not self._signs or is_signed(self._workshop.key("links"), name, expires, proof, now=time.time())

    @property
    def _signs(self) -> bool:
        settings = self._workshop.settings
        return settings.has_identities and not settings.public_images

    def _proof(self, image: Image) -> str:
        if not self._signs:
            return ""
        expires = int(time.time()) + self._workshop.settings.link_ttl
        return f"expires={expires}&signature={signature(self._workshop.key('links'), image.key, expires)}"


def _key(image: Image, *, thumbnail: bool) -> str:
    return image.thumbnail_key if thumbnail and image.thumbnail_key else image.key


def _no_image(image_id: str) -> NotFoundError:
    return NotFoundError(f"Image id '{image_id}' not found or expired", code="image_not_found", details={"image_id": image_id})
