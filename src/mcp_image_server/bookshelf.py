"""Styles and templates, and whose they are: some come along, the operator's are for everybody, and every principal has some of its own."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import anyio
from anyio import to_thread

from .asking import with_template
from .audit import audit
from .errors import NotFoundError, RequestError, StorageError
from .library import FOLDER, MAX_KEPT, Drawer, KeptEntry, Library, Overlay, StyleEntry, Template, TemplateEntry
from .library.drawer import kept_style, kept_template, no_style, no_template, too_many
from .library.shelves import STYLES, TEMPLATES
from .library.styles import STYLES as BUILTIN_STYLES
from .models import LOCAL, Caller, ImageRequest, Style
from .workshop import Workshop, may_change

if TYPE_CHECKING:
    from .history import Kept

log = logging.getLogger(__name__)

T = TypeVar("T")

Origin = Literal["own", "shared", "builtin"]
"""Whose a style or template is: one's own, the operator's for everybody, or nobody's, since it comes along."""

_READERS = 64
"""Principals whose files are kept in memory."""


class Bookshelf:
    """Styles and templates as their readers see them. Of those with one name, one's own goes before the operator's, and that before what comes along.

    The operator's lie in `.mcp-image` in the picture folder and, weightier, in the working directory. Another principal's lie in a folder of that name's own
    beneath the first; the operator has no others. Where many servers share a database, what is kept over HTTP lies there instead, and goes before all files.
    """

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop
        self._shared = Library(lambda: (self._folder, Path.cwd() / FOLDER))
        self._read_by = lru_cache(_READERS)(self._opened)
        self._writing = anyio.Lock()

    @property
    def _folder(self) -> Path:
        return self._workshop.save_folder / FOLDER

    def _folder_of(self, principal: str) -> Path:
        return self._folder if principal == LOCAL else self._folder / "principals" / folder_name(principal)

    def _opened(self, principal: str) -> Library:
        return Library(lambda: (self._folder_of(principal),), over=self._shared)

    @property
    def _is_in_record(self) -> bool:
        return self._workshop.settings.database_url is not None

    # ------------------------------------------------------------------ reading

    def library(self, caller: Caller) -> Library:
        """All that the caller sees in files; it looks at them whenever it is asked."""
        return self._shared if caller.principal == LOCAL or self._is_in_record else self._read_by(caller.principal)

    async def _all(self, caller: Caller) -> Library | Overlay:
        if not self._is_in_record:
            return self.library(caller)
        kept = await (await self._workshop.history()).kept.seen_by(_owner(caller))
        entries = (KeptEntry(source=_in_record(owner) / kind / f"{key}.json", entry=entry) for owner, kind, key, entry in kept)
        return Overlay(self._shared, entries)

    async def _all_there_is(self, caller: Caller) -> Library | Overlay:
        """For lists, which have at least what lies in files while the record is away."""
        try:
            return await self._all(caller)
        except StorageError as error:
            log.warning("Styles and templates of the record are missing in lists: %s", error.message)
            return self.library(caller)

    async def own_styles(self, caller: Caller) -> Mapping[str, Style]:
        """The styles that the caller or the operator has written, by key."""
        return await to_thread.run_sync((await self._all(caller)).own_styles)

    async def styles(self, caller: Caller) -> dict[str, Style]:
        """Every style that works with every model, by key."""
        return {**BUILTIN_STYLES, **await to_thread.run_sync((await self._all_there_is(caller)).own_styles)}

    async def style(self, caller: Caller, key: str) -> Style:
        """The style of that key.

        Raises:
            NotFoundError: the caller sees none (`invalid_style`).
        """
        styles = {**BUILTIN_STYLES, **await self.own_styles(caller)}
        if key not in styles:
            raise NotFoundError(f"There is no style {key!r}. Styles: {', '.join(styles)}.", code="invalid_style", details={"style": key})
        return styles[key]

    async def templates(self, caller: Caller) -> Mapping[str, Template]:
        """Every template by key."""
        return await to_thread.run_sync((await self._all_there_is(caller)).templates)

    async def template(self, caller: Caller, name: str) -> Template:
        """The template of that key, or the one whose title holds the name.

        Raises:
            NotFoundError: the caller sees none, or more than one (`template_not_found`).
        """
        return await to_thread.run_sync((await self._all(caller)).template, name)

    async def from_template(self, caller: Caller, request: ImageRequest, name: str, variables: Mapping[str, object]) -> ImageRequest:
        """The request with the template's words before its own, and as the template says in all that the request leaves open.

        Raises:
            NotFoundError: the caller sees no such template (`template_not_found`).
            RequestError: a variable is missing or wrong (`invalid_variables`).
        """
        template = (await self.template(caller, name)).filled(variables)
        address = self._workshop.read_address(provider=template.provider, model=template.model, style=template.style, resolution=template.resolution)
        return with_template(request, template, address)

    def origin(self, caller: Caller, entry: Style | Template) -> Origin:
        """Whose it is, as the caller sees it."""
        if entry.source is None or (isinstance(entry, Template) and not entry.is_own):
            return "builtin"
        return "own" if entry.source.parent.parent in (self._folder_of(caller.principal), _in_record(_owner(caller))) else "shared"

    # ------------------------------------------------------------------ writing

    async def put_style(self, caller: Caller, key: str, entry: StyleEntry, *, shared: bool = False) -> bool:
        """Keeps a style of the caller's own; whether it is new.

        Args:
            shared: it is for everybody.

        Raises:
            RequestError: the caller may not (`forbidden`), or it cannot be kept under that key.
            LimitError: it is too large, or there are too many.
            StorageError: folder or record cannot be written.
        """
        return await self._write(
            caller, "style.put", key, shared, lambda drawer: drawer.put_style(key, entry), lambda record: record.put_style(key, entry)
        )

    async def put_template(self, caller: Caller, key: str, entry: TemplateEntry, *, shared: bool = False) -> bool:
        """Keeps a template of the caller's own; whether it is new.

        Args:
            shared: it is for everybody.

        Raises:
            RequestError: the caller may not (`forbidden`), text and variables do not agree, or it cannot be kept under that key.
            LimitError: it is too large, or there are too many.
            StorageError: folder or record cannot be written.
        """
        return await self._write(
            caller, "template.put", key, shared, lambda drawer: drawer.put_template(key, entry), lambda record: record.put_template(key, entry)
        )

    async def remove_style(self, caller: Caller, key: str, *, shared: bool = False) -> None:
        """Throws away a style of the caller's own.

        Raises:
            NotFoundError: there is none.
            RequestError: the caller may not, or it was written by hand.
            StorageError: folder or record cannot be written.
        """
        await self._write(caller, "style.removed", key, shared, lambda drawer: drawer.remove_style(key), lambda record: record.remove_style(key))

    async def remove_template(self, caller: Caller, key: str, *, shared: bool = False) -> None:
        """Throws away a template of the caller's own.

        Raises:
            NotFoundError: there is none.
            RequestError: the caller may not, or it was written by hand.
            StorageError: folder or record cannot be written.
        """
        await self._write(
            caller, "template.removed", key, shared, lambda drawer: drawer.remove_template(key), lambda record: record.remove_template(key)
        )

    async def _write(
        self, caller: Caller, event: str, key: str, shared: bool, in_folder: Callable[[Drawer], T], in_record: Callable[[_Record], Awaitable[T]]
    ) -> T:
        may_change(caller)
        if shared and not caller.is_admin:
            raise RequestError("Only an administrator may change what is everybody's.", code="forbidden")
        if self._is_in_record:
            done = await in_record(_Record((await self._workshop.history()).kept, "" if shared else _owner(caller)))
        else:
            drawer = Drawer(self._folder if shared else self._folder_of(caller.principal))
            async with self._writing:  # so that two at once do not both see the last free place
                done = await to_thread.run_sync(in_folder, drawer)
        audit(event, principal=caller.principal, key=key, shared=shared or None)
        return done


class _Record:
    """What `Drawer` is for a folder, for what one owner keeps in the record."""

    def __init__(self, kept: Kept, owner: str) -> None:
        self._kept = kept
        self._owner = owner

    async def put_style(self, key: str, entry: StyleEntry) -> bool:
        return await self._put(STYLES, key, kept_style(key, entry))

    async def put_template(self, key: str, entry: TemplateEntry) -> bool:
        return await self._put(TEMPLATES, key, kept_template(key, entry))

    async def remove_style(self, key: str) -> None:
        if not await self._kept.remove(self._owner, STYLES, key):
            raise no_style(key)

    async def remove_template(self, key: str) -> None:
        if not await self._kept.remove(self._owner, TEMPLATES, key):
            raise no_template(key)

    async def _put(self, kind: str, key: str, entry: Mapping[str, Any]) -> bool:
        new = await self._kept.put(self._owner, kind, key, entry, most=MAX_KEPT)
        if new is None:
            raise too_many(kind)
        return new


def _owner(caller: Caller) -> str:
    """Under whom the caller's own stand in the record: those of the operator are everybody's."""
    return "" if caller.principal == LOCAL else caller.principal


def _in_record(owner: str) -> Path:
    """What stands in the place of the owner's folder for what is in the record."""
    return Path("record", folder_name(owner) if owner else "everybody")


def folder_name(principal: str) -> str:
    """The name of that principal's folder: one that every system can store, that people recognise, and that no other principal has."""
    readable = re.sub(r"[^a-z0-9]+", "-", principal.lower())[:40].strip("-")
    return f"{readable}-{hashlib.sha256(principal.encode()).hexdigest()[:32]}".lstrip("-")
