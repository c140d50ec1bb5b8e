"""A command at work: a studio opened for it, words for people, and the code that the program ends with."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import anyio
import typer
from rich.console import Console

from ...errors import ConfigError, ImageServerError, ProviderError, RequestError
from ...models import Caller
from ...studio import Studio, open_studio
from ..facts import error_body

console = Console(stderr=True)
"""Words for people; standard output is for results alone."""

UNBROKEN = 10_000
"""Columns for a table that a program reads: no line of it is broken."""


ME = Caller()
"""The person at the terminal."""

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of words.")]


def run(
    work: Callable[[Studio], Awaitable[bool]], *, as_json: bool = False, failed: int = 1, interrupted: str = "what was under way is cancelled"
) -> None:
    """Does the work with a studio opened for it.

    Ends the program with `failed` when the work says that all is not well, and with words and an exit code of its own for an expected failure.
    """

    async def within() -> int:
        async with open_studio() as studio:
            try:
                return 0 if await work(studio) else failed
            except ImageServerError as error:
                return told(error, as_json)

    try:
        code = anyio.run(within)
    except ConfigError as error:
        code = told(error, as_json)
    except KeyboardInterrupt:
        say(f"Interrupted; {interrupted}.", style="red")
        code = 130
    if code:
        raise typer.Exit(code)


def told(error: ImageServerError, as_json: bool) -> int:
    """The exit code for that error, which the person has been told."""
    if as_json:
        print_json(error_body(error))
    else:
        say(f"error ({error.code}): {error.message}", style="red")
    return exit_code(error)


def exit_code(error: ImageServerError) -> int:
    """2: ask differently; 3: the operator must set something; 4: the service failed; 1: anything else."""
    match error:
        case RequestError():
            return 2
        case ConfigError():
            return 3
        case ProviderError():
            return 4
        case _:
            return 1


def say(words: str, *, style: str | None = None) -> None:
    """Words for the person, as they are: brackets and numbers in them mean nothing, and only the terminal breaks their lines."""
    console.print(words, style=style, markup=False, highlight=False, soft_wrap=True)


def results() -> Console:
    """Standard output, for tables: as wide as the terminal, or as wide as the lines are where it leads elsewhere; so that `grep` finds whole rows."""
    wide = None if sys.stdout.isatty() or "COLUMNS" in os.environ else UNBROKEN
    return Console(width=wide, highlight=False, markup=False)


def print_json(value: Any) -> None:
    """The value as JSON on standard output."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


def at_home() -> Caller:
    """The person at the terminal, to whom every file is open that the system opens to them."""
    here = Path.cwd()
    return replace(ME, folders=(here, Path(here.anchor)))
