"""What comes along and people's own: `styles` and `templates`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ...errors import NotFoundError
from ...models import Style
from ...studio import Studio
from ..facts import style_facts, template_facts
from ..tables import plain_table
from .running import ME, AsJson, print_json, results, run

styles_app = typer.Typer(no_args_is_help=True, help="Named styles that work with every model.")


templates_app = typer.Typer(no_args_is_help=True, help="Prompts with variables to be filled in.")


BesidePictures = Annotated[
    bool, typer.Option("--beside-pictures", help="Write it into the picture folder instead of the working directory, for all who store there.")
]


def _place(studio: Studio, beside_pictures: bool) -> Path:
    from ...library import FOLDER

    return (studio.save_folder if beside_pictures else Path.cwd()) / FOLDER


@styles_app.command("list")
def styles_list(as_json: AsJson = False) -> None:
    """The styles that work with every model: those that come along and people's own."""

    async def work(studio: Studio) -> bool:
        styles = await studio.library.styles(ME)
        if as_json:
            print_json([style_facts(style) for style in styles.values()])
            return True
        table = plain_table("Key", "Style", "Written into the prompt", numbers=())
        for style in styles.values():
            table.add_row(f"{style.key}{' *' if style.source else ''}", style.label, style.phrase)
        table.caption = "* is one of your own." if any(style.source for style in styles.values()) else None
        results().print(table)
        return True

    run(work, as_json=as_json)


@styles_app.command("show")
def styles_show(key: Annotated[str, typer.Argument(help="The style's key.")], as_json: AsJson = False) -> None:
    """One style, as a file would have it."""

    async def work(studio: Studio) -> bool:
        style = (await studio.library.styles(ME)).get(key)
        if style is None:
            raise NotFoundError(f"There is no style {key!r}; `mcp-image-server styles list` has them.", code="invalid_style")
        print(json.dumps(style_facts(style), ensure_ascii=False, indent=2) if as_json else studio.library.library(ME).text_of(style).rstrip())
        return True

    run(work, as_json=as_json)


@styles_app.command("add")
def styles_add(
    key: Annotated[str, typer.Argument(help="Its key: letters, digits, - and _.")],
    phrase: Annotated[str, typer.Argument(help="What is written into the prompt.")],
    label: Annotated[str, typer.Option(help="Its name for people.")] = "",
    chinese: Annotated[str, typer.Option("--zh", help="What is written into a Chinese prompt.")] = "",
    beside_pictures: BesidePictures = False,
) -> None:
    """Write a style of your own into a file. One with the key of another takes its place."""

    async def work(studio: Studio) -> bool:
        print(studio.library.library(ME).add_style(_place(studio, beside_pictures), Style(key=key, label=label, phrase=phrase, phrase_zh=chinese)))
        return True

    run(work)


@templates_app.command("list")
def templates_list(as_json: AsJson = False) -> None:
    """The templates: those that come along and people's own."""

    async def work(studio: Studio) -> bool:
        templates = await studio.library.templates(ME)
        if as_json:
            print_json([template_facts(template) for template in templates.values()])
            return True
        table = plain_table("Name", "Template", "Variables", numbers=())
        for template in templates.values():
            variables = " ".join(f"{variable.name}{'!' if variable.default is None else ''}" for variable in template.variables)
            table.add_row(f"{template.key}{' *' if template.is_own else ''}", template.title, variables)
        table.caption = "! has to be given." + (" * is one of your own." if any(template.is_own for template in templates.values()) else "")
        results().print(table)
        return True

    run(work, as_json=as_json)


@templates_app.command("show")
def templates_show(name: Annotated[str, typer.Argument(help="The template's name, or part of its title.")], as_json: AsJson = False) -> None:
    """One template, as its file has it."""

    async def work(studio: Studio) -> bool:
        template = await studio.library.template(ME, name)
        print(
            json.dumps(template_facts(template), ensure_ascii=False, indent=2) if as_json else studio.library.library(ME).text_of(template).rstrip()
        )
        return True

    run(work, as_json=as_json)


@templates_app.command("new")
def templates_new(
    name: Annotated[str, typer.Argument(help="Its name: letters, digits, - and _.")],
    like: Annotated[str, typer.Option(help="Begin with a copy of this template.")] = "",
    beside_pictures: BesidePictures = False,
) -> None:
    """Begin a template of your own: writes a file to be edited, and prints where it is."""

    async def work(studio: Studio) -> bool:
        model = await studio.library.template(ME, like) if like else None
        print(studio.library.library(ME).add_template(_place(studio, beside_pictures), name, like=model))
        return True

    run(work)
