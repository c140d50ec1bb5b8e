"""Styles and templates that are kept in the record, over those of files."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..models import Style
from .shelves import STYLES, TEMPLATES, Library, named
from .styles import read_styles
from .templates import Template, read_template

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class KeptEntry:
    """A style or template as the record has it."""

    source: Path
    """Stands in the place of its file: relative, since there is none."""
    entry: Mapping[str, Any]
    """What a file of its own would hold."""

    @property
    def kind(self) -> str:
        """`styles` or `templates`."""
        return self.source.parent.name


class Overlay:
    """All that somebody sees. Every method looks at files, so call it beside the event loop.

    Args:
        over: those of files.
        kept: those of the record, which go before them, the weightiest last.
    """

    def __init__(self, over: Library, kept: Iterable[KeptEntry]) -> None:
        self._over = over
        self._kept = tuple(kept)

    def own_styles(self) -> Mapping[str, Style]:
        """The styles that people here have written, by key."""
        return {**self._over.own_styles(), **self._read(STYLES, lambda path, entry: read_styles(path, {path.stem: entry}))}

    def templates(self) -> Mapping[str, Template]:
        """Every template by key: those that come along, then people's own; one of the same name takes its place."""
        return {**self._over.templates(), **self._read(TEMPLATES, read_template)}

    def template(self, name: str) -> Template:
        """The template of that key, or the one whose title holds the name.

        Raises:
            NotFoundError: `template_not_found`: there is none, or more than one; the message names them.
        """
        return named(self.templates(), name)

    def _read(self, kind: str, read: Callable[[Path, object], Mapping[str, T]]) -> dict[str, T]:
        found: dict[str, T] = {}
        for kept in self._kept:
            try:
                found.update(read(kept.source, kept.entry) if kept.kind == kind else {})
            except ValueError:  # a newer server wrote it
                log.warning("%s was left out: this version does not understand it.", kept.source)
        return found
