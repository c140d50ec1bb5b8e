"""The command line: the same studio, for people at a terminal. A module for each group of commands, put together here."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from ... import __version__
from .batches import batch
from .changing import inspect, transform
from .configuring import config_app
from .history import history_app
from .installing import install
from .library import styles_app, templates_app
from .making import edit, generate
from .operating import doctor, jobs
from .providers import models, provider_app
from .running import exit_code
from .serving import serve
from .tokens import token_app

app = typer.Typer(no_args_is_help=False, rich_markup_mode=None, pretty_exceptions_enable=False, help="Turn prompts into stored pictures.")
app.command(context_settings={"ignore_unknown_options": True})(serve)
for command in (generate, edit, batch, transform, inspect, models, jobs, doctor, install):
    app.command()(command)
for name, group in {
    "history": history_app,
    "styles": styles_app,
    "templates": templates_app,
    "provider": provider_app,
    "config": config_app,
    "token": token_app,
}.items():
    app.add_typer(group, name=name)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit
    logging.getLogger("stamina").setLevel(logging.ERROR)  # what is tried again needs no word to a person who waits


__all__ = ["app", "exit_code"]
