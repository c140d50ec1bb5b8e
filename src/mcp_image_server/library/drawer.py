"""A folder of styles and templates, kept in order for people who do not see its files."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import LimitError, NotFoundError, RequestError, StorageError
from ..guard import is_device
from .shelves import STYLES, TEMPLATES, Contents, Shelf
from .styles import StyleEntry, check_key, read_styles
from .templates import TemplateEntry, read_template

log = logging.getLogger(__name__)

MAX_KEPT = 100
"""Styles in a drawer, and as many templates."""

MAX_KEPT_BYTES = 32 * 1024
"""Of one of them."""


class Drawer:
    """What is in one folder, each entry in a JSON file of its own. Every method looks at files, so call it beside the event loop.

    Files that somebody put there by hand are left alone.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._styles = Shelf(lambda: [folder / STYLES], read_styles)
        self._templates = Shelf(lambda: [folder / TEMPLATES], read_template)

    def put_style(self, key: str, entry: StyleEntry) -> bool:
        """Keeps the style; whether it is new.

        Raises:
            RequestError: the key cannot be one, or somebody wrote it into another file.
            LimitError: it is too large (`payload_too_large`), or there are too many (`quota_exceeded`).
            StorageError: the folder cannot be written.
        """
        return self._put(STYLES, self._styles.contents(), key, {key: kept_style(key, entry)})

    def put_template(self, key: str, entry: TemplateEntry) -> bool:
        """Keeps the template; whether it is new.

        Raises:
            RequestError: text and variables do not agree, the key cannot be one, or somebody wrote it into another file.
            LimitError: as for a style.
            StorageError: the folder cannot be written.
        """
        return self._put(TEMPLATES, self._templates.contents(), key, kept_template(key, entry))

    def remove_style(self, key: str) -> None:
        """Throws the style away.

        Raises:
            NotFoundError: there is none (`invalid_style`).
            RequestError: somebody wrote it into another file.
            StorageError: the folder cannot be written.
        """
        if key not in (contents := self._styles.contents()).entries:
            raise no_style(key)
        self._remove(STYLES, contents, key)

    def remove_template(self, key: str) -> None:
        """Throws the template away.

        Raises:
            NotFoundError: there is none (`template_not_found`).
            RequestError: somebody wrote it into another file.
            StorageError: the folder cannot be written.
        """
        if key not in (contents := self._templates.contents()).entries:
            raise no_template(key)
        self._remove(TEMPLATES, contents, key)

    def _put(self, kind: str, contents: Contents[Any], key: str, value: dict[str, Any]) -> bool:
        path, text = self._path(kind, key), _text(value)
        known = key in contents.entries
        if known:
            _by_us(contents, key, path)
        elif len(contents.files) >= MAX_KEPT:
            raise too_many(kind)
        staged = path.with_name(f".{secrets.token_hex(8)}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            staged.write_text(text, encoding="utf-8", newline="\n")
            staged.replace(path)
        except OSError as error:
            with suppress(OSError):
                staged.unlink(missing_ok=True)
            raise _unusable(path, error) from error
        return not known

    def _remove(self, kind: str, contents: Contents[Any], key: str) -> None:
        path = self._path(kind, key)
        _by_us(contents, key, path)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise _unusable(path, error) from error

    def _path(self, kind: str, key: str) -> Path:
        return self._folder / kind / f"{key}.json"


def _unusable(path: Path, error: OSError) -> StorageError:
    """For a caller, who has nothing to do with our folders; they stand in the log."""
    log.error("%s cannot be changed: %s", path, error.strerror or error)
    return StorageError(f"The server's folder of {path.parent.name} cannot be written: {error.strerror}. Its log says which that is.")


def kept_style(key: str, entry: StyleEntry) -> dict[str, Any]:
    """What is kept of the style.

    Raises:
        RequestError: the key cannot be one.
        LimitError: it is too large (`payload_too_large`).
    """
    _checked(lambda: check_key(key), key)
    return _told(entry)


def kept_template(key: str, entry: TemplateEntry) -> dict[str, Any]:
    """What is kept of the template.

    Raises:
        RequestError: text and variables do not agree, or the key cannot be one.
        LimitError: it is too large (`payload_too_large`).
    """
    _checked(lambda: entry.template(key, Path()), key)
    return _told(entry)


def no_style(key: str) -> NotFoundError:
    """For whoever has no such style."""
    return NotFoundError(f"You have no style {key!r} of your own.", code="invalid_style", details={"style": key})


def no_template(key: str) -> NotFoundError:
    """For whoever has no such template."""
    return NotFoundError(f"You have no template {key!r} of your own.", code="template_not_found", details={"template": key})


def too_many(kind: str) -> LimitError:
    """For whoever has as many as are kept."""
    return LimitError(f"There are {MAX_KEPT} {kind} already; remove one first.", details={"most": MAX_KEPT})


def _told(entry: StyleEntry | TemplateEntry) -> dict[str, Any]:
    """What the entry says, without what goes without saying."""
    told = entry.model_dump(mode="json", exclude_defaults=True)
    if len(_text(told).encode()) > MAX_KEPT_BYTES:
        raise LimitError(
            f"It has more than {MAX_KEPT_BYTES // 1024} kB; write less.", code="payload_too_large", details={"max_bytes": MAX_KEPT_BYTES}
        )
    return told


def _text(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


def _checked(look: Callable[[], object], key: str) -> None:
    try:
        look()
        if is_device(key):
            raise ValueError(f"{key!r} belongs to a device on Windows; choose another name")
    except ValueError as error:
        raise RequestError(f"{str(error).rstrip('.')}.", code="invalid_parameters") from error


def _by_us(contents: Contents[Any], key: str, path: Path) -> None:
    """Passes what stands in the file that we would write: what people wrote by hand is theirs to change."""
    source = contents.entries[key].source
    if source != path:
        raise RequestError(f"{key!r} was written by hand, into the file {source.name}; change it there.", code="invalid_parameters")
