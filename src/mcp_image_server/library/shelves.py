"""Folders of YAML and JSON files: read when they are wanted, and again when a file has changed."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from ..errors import NotFoundError, RequestError
from ..models import Style
from .styles import check_key, read_styles
from .templates import BUILTIN, Template, TemplateEntry, read_template

log = logging.getLogger(__name__)

FOLDER = ".mcp-image"
"""Where people's own files are, in the working directory and beside the pictures: in its folders `styles` and `templates`."""

STYLES, TEMPLATES = "styles", "templates"
"""The folders in it."""

ENDINGS = (".yaml", ".yml", ".json")
"""Of the files that are read."""

MAX_BYTES = 128 * 1024
"""Of one file: far more than anybody writes, and read within a second or two."""

EXAMPLE = """\
# Words in braces are variables. One without a default has to be given.
# Besides, a template may set style, provider, model, resolution, negative_prompt, quality, background and output_format.
title: My template
description: What it is good for.
prompt: >-
  A {mood} picture of {subject}.
variables:
  subject:
    description: What is to be seen.
  mood:
    choices: [calm, lively]
    default: calm
"""
"""A template to begin with."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Contents(Generic[T]):
    """What was in the folders when they looked like this."""

    files: tuple[tuple[Path, int, int], ...] = ()
    entries: Mapping[str, T] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


class Shelf(Generic[T]):
    """The files of one kind, in several folders, the later ones first in rank."""

    def __init__(self, folders: Callable[[], Sequence[Path]], read: Callable[[Path, object], Mapping[str, T]]) -> None:
        self._folders = folders
        self._read = read
        self._contents = Contents[T]()

    def contents(self) -> Contents[T]:
        """What is there now."""
        files, problems = self._files()
        if files != self._contents.files or not files:
            self._contents = self._read_all(files, problems)
        return self._contents

    def _files(self) -> tuple[tuple[tuple[Path, int, int], ...], list[str]]:
        """Each file with its time and size, by which a change is noticed."""
        found, problems = [], []
        for folder in dict.fromkeys(self._folders()):
            try:
                for path in sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS and path.name[0] != "."):
                    facts = path.stat()
                    found.append((path, facts.st_mtime_ns, facts.st_size))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                problems.append(f"{folder} cannot be read: {error.strerror or error}.")
        return tuple(found), problems

    def _read_all(self, files: tuple[tuple[Path, int, int], ...], problems: list[str]) -> Contents[T]:
        entries: dict[str, T] = {}
        for path, _, size in files:
            try:
                if size > MAX_BYTES:
                    raise ValueError(f"it has more than {MAX_BYTES // 1024} kB")
                text = path.read_text(encoding="utf-8-sig")
                value = parsed_json(text) if path.suffix.lower() == ".json" else parsed(text)
                if value is not None:  # an empty file says nothing, and nothing wrong
                    entries.update(self._read(path, value))
            except (OSError, ValueError) as error:
                problems.append(f"{path} was left out: {_words(error)}.")
        for problem in set(problems) - set(self._contents.problems):
            log.warning("%s", problem)
        return Contents(files=files, entries=entries, problems=tuple(problems))


def parsed(text: str) -> Any:
    """The YAML text as lists, mappings and strings: `3:4` and `no` stay what they look like.

    Raises:
        ValueError: it is no YAML; the message names the line.
    """
    import yaml

    try:
        # The loader that makes nothing but text. Its quicker twin in C ends the whole process where brackets are nested too deep.
        return yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark is not None else ""
        raise ValueError(f"{where}{getattr(error, 'problem', None) or error}") from error
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def parsed_json(text: str) -> Any:
    """The JSON text as it stands.

    Raises:
        ValueError: it is no JSON; the message names the line.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno}: {error.msg}") from error
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def _style_text(style: Style) -> str:
    import yaml

    entry = {name: text for name in ("label", "phrase", "phrase_zh") if (text := getattr(style, name))}
    return str(yaml.safe_dump({style.key: entry}, allow_unicode=True, sort_keys=False, width=120))


def _template_text(template: Template) -> str:
    import yaml

    entry = TemplateEntry.of(template).model_dump(mode="json", exclude_defaults=True)
    return str(yaml.safe_dump(entry, allow_unicode=True, sort_keys=False, width=120))


def _words(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(
            f"{' → '.join(map(str, problem['loc'])) or 'the file'}: {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors(include_url=False, include_input=False)
        )
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error).rstrip(".")


def named(templates: Mapping[str, Template], name: str) -> Template:
    """The template of that key, or the one whose title holds the name.

    Raises:
        NotFoundError: `template_not_found`: there is none, or more than one; the message names them.
    """
    key = name.strip().casefold().replace(" ", "_").replace("-", "_")
    exact = [template for template in templates.values() if name == template.key] or [
        template for template in templates.values() if key == template.key.casefold().replace("-", "_")
    ]
    found = exact or [template for template in templates.values() if name.strip() and name.strip().casefold() in template.title.casefold()]
    if len(found) == 1:
        return found[0]
    which = f"{len(found)} templates are called" if found else "There is no template"
    raise NotFoundError(
        f"{which} {name!r}. Templates: {', '.join(each.key for each in found or templates.values())}.",
        code="template_not_found",
        details={"template": name, "available_templates": list(templates)},
    )


class Library:
    """Named styles and templates. Reading them looks at files, so call it beside the event loop.

    Args:
        folders: those that may hold folders `styles` and `templates`, the weightiest last.
        over: what there is besides, and weighs less; None: the templates that come along.
    """

    def __init__(self, folders: Callable[[], Sequence[Path]], *, over: Library | None = None) -> None:
        self._over = over
        along = () if over is not None else (BUILTIN,)
        self._styles = Shelf(lambda: [folder / STYLES for folder in folders()], read_styles)
        self._templates = Shelf(lambda: [*along, *(folder / TEMPLATES for folder in folders())], read_template)

    def own_styles(self) -> Mapping[str, Style]:
        """The styles that people here have written, by key."""
        own = self._styles.contents().entries
        return {**self._over.own_styles(), **own} if self._over is not None else own

    def templates(self) -> Mapping[str, Template]:
        """Every template by key: those that come along, then people's own; one of the same name takes its place."""
        own = self._templates.contents().entries
        return {**self._over.templates(), **own} if self._over is not None else own

    def template(self, name: str) -> Template:
        """The template of that key, or the one whose title holds the name.

        Raises:
            NotFoundError: `template_not_found`: there is none, or more than one; the message names them.
        """
        return named(self.templates(), name)

    def problems(self) -> tuple[str, ...]:
        """What is wrong with files that were left out, a sentence each."""
        return (*self._styles.contents().problems, *self._templates.contents().problems)

    def add_style(self, folder: Path, style: Style) -> Path:
        """Writes the style into a file of its own in that folder, and names the file.

        Raises:
            RequestError: the key cannot be a file's name, the file is there already, or it cannot be written.
        """
        return _write(folder / STYLES, style.key, _style_text(style))

    def add_template(self, folder: Path, key: str, *, like: Template | None = None) -> Path:
        """Writes a file for a template of that key in that folder, to be edited, and names the file.

        Args:
            like: the template to begin with; None: a short example.

        Raises:
            RequestError: the key cannot be a file's name, the file is there already, or it cannot be written.
        """
        return _write(folder / TEMPLATES, key, self.text_of(like) if like is not None else EXAMPLE)

    def text_of(self, entry: Style | Template) -> str:
        """The style or template as a file has it.

        Raises:
            RequestError: the file cannot be read any more.
        """
        if isinstance(entry, Style):
            return _style_text(entry)
        if not entry.source.is_absolute():
            return _template_text(entry)
        try:
            return entry.source.read_text(encoding="utf-8-sig")
        except OSError as error:
            raise RequestError(f"{entry.source} cannot be read: {error.strerror or error}.", code="file_not_found") from error


def _write(folder: Path, key: str, text: str) -> Path:
    try:
        check_key(key)
    except ValueError as error:
        raise RequestError(f"{error}.", code="invalid_parameters") from error
    path = folder / f"{key}.yaml"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError:
        raise RequestError(f"{path} is there already; edit it, or choose another name.", code="invalid_parameters") from None
    except OSError as error:
        raise RequestError(f"{path} cannot be written: {error.strerror or error}.", code="invalid_parameters") from error
    return path
