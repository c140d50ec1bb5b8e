"""Fills the generated parts of the documents from the code: settings, providers, tools, commands, errors.

A generated part stands between `<!-- begin NAME -->` and `<!-- end NAME -->`; everything around it is written by hand. With `--check` nothing is
written, and pages that are out of date are named.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import TaskGroup
from mcp import Client, types
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption
from typer.main import get_command

import mcp_image_server.guard
import mcp_image_server.pictures.examining  # noqa: F401 - kinds of failure live in both
from mcp_image_server import errors, providers
from mcp_image_server.configuration import Configuration
from mcp_image_server.models import Catalogue, Model
from mcp_image_server.settings import Settings, needs_restart, parse
from mcp_image_server.studio import Studio
from mcp_image_server.surfaces.cli import app, exit_code
from mcp_image_server.surfaces.facts import size_words
from mcp_image_server.surfaces.http.problems import trouble_of
from mcp_image_server.surfaces.mcp import build_server

ROOT = Path(__file__).parent.parent

_PART = re.compile(r"(<!-- begin ([a-z ]+) -->\n).*?(<!-- end \2 -->)", re.DOTALL)


def pages() -> dict[Path, str]:
    """Every page with a generated part, as it should be."""
    parts = {
        "server settings": server_settings(),
        "provider settings": provider_settings(),
        "provider list": provider_list(),
        "tools": anyio.run(tools),
        "resources": anyio.run(resources),
        "commands": commands(),
        "errors": error_classes(),
    }
    texts = {path: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").rglob("*.md"))}
    return {path: _PART.sub(lambda found: f"{found[1]}\n{parts[found[2]]}\n{found[3]}", text) for path, text in texts.items() if _PART.search(text)}


def main(arguments: Sequence[str]) -> None:
    """Writes the pages; with `--check`, ends with 1 and words when one would change."""
    stale = {path: text for path, text in pages().items() if path.read_text(encoding="utf-8") != text}
    if "--check" in arguments:
        if stale:
            sys.exit(f"Out of date: {', '.join(path.relative_to(ROOT).as_posix() for path in stale)}. Run `make docs`.")
        return
    for path, text in stale.items():
        path.write_text(text, encoding="utf-8", newline="\n")
        print(f"wrote {path.relative_to(ROOT)}")


# Settings -----------------------------------------------------------------------------------------------------------------------------------


def server_settings() -> str:
    """The table of MCP_ variables."""
    rows = (
        (f"`{field.alias}`", default_words(field), "yes" if needs_restart(name) else "no", field.description or "")
        for name, field in Settings.model_fields.items()
    )
    return table(("Variable", "Default", "Restart", "Meaning"), rows)


def provider_settings() -> str:
    """One table for each provider that has settings."""
    parts = []
    for name, catalogue in providers.catalogues().items():
        config = config_of(name)
        if config is not None:
            rows = ((f"`{field.alias}`", default_words(field), field.description or "") for field in config.model_fields.values())
            parts.append(f"### {catalogue.title}\n\n{table(('Variable', 'Default', 'Meaning'), rows)}")
    return "\n".join(parts)


def config_of(provider: str) -> type[BaseModel] | None:
    """The settings of that provider; None where it has none."""
    config = getattr(import_module(f"mcp_image_server.providers.{provider}"), "Config", None)
    assert config is None or issubclass(config, BaseModel)
    return config


def default_words(field: FieldInfo) -> str:
    """A setting's default as one would write it; a dash where there is none."""
    default = field.default
    if default is None or default is PydanticUndefined:
        return "–"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, tuple):
        return "`[]`"
    return f"`{default}`"


# Providers ----------------------------------------------------------------------------------------------------------------------------------


def provider_list() -> str:
    """What each provider can do."""
    return "\n".join(provider_page(catalogue) for catalogue in providers.catalogues().values())


def provider_page(catalogue: Catalogue) -> str:
    """One provider: how it is switched on, its models, styles and resolutions."""
    switch = f"Switched on by {' and '.join(f'`{name}`' for name in catalogue.variables)}." if catalogue.variables else "Always on; needs no key."
    words = [f"`provider` is `{catalogue.provider}`. {switch}", f"Its default model is `{catalogue.default_model}`."]
    if catalogue.unknown is not None:
        words.append("Model ids that are not in the table are passed on as they are.")
    models = table(
        ("Model", "Does", "Sizes (pixels)", "At once", "Seed", "Negative prompt", "Qualities", "Backgrounds", "Formats", "List price", "Ends"),
        (model_row(model) for model in catalogue.models),
    )
    lists = [
        f"Styles: {', '.join(f'`{key}`' for key in catalogue.styles)}.",
        f"Resolutions: {', '.join(f'`{key}`' for key in catalogue.resolutions)}.",
    ]
    credit = [f"Credit to give with its pictures: {catalogue.attribution}"] if catalogue.attribution else []
    return "\n\n".join([f"### {catalogue.title}", " ".join(words), models.rstrip("\n"), *lists, *credit]) + "\n"


def model_row(model: Model) -> tuple[str, ...]:
    """One line of the table of models."""
    price = "–"
    if model.price is not None:
        price = f"{model.price.amount:g} {model.price.currency}{'/MP' if model.price.per == 'megapixel' else ''} ({model.price.as_of})"
    return (
        f"`{model.id}`",
        ", ".join(sorted(model.operations)),
        size_words(model.sizes),
        str(model.max_count),
        "yes" if model.seed else "–",
        "yes" if model.negative_prompt else "–",
        ", ".join(model.qualities) or "–",
        ", ".join(model.backgrounds) or "–",
        ", ".join(model.formats) or "–",
        price,
        str(model.ends or "–"),
    )


# Tools --------------------------------------------------------------------------------------------------------------------------------------


async def tools() -> str:
    """Every tool as a client sees it."""
    listed, core = [await _tools(toolset) for toolset in ("full", "core")]
    names = {tool.name for tool in core}
    return "\n".join(tool_page(tool, core=tool.name in names) for tool in listed)


async def _tools(toolset: str) -> list[types.Tool]:
    async with anyio.create_task_group() as tasks, Client(build_server(_studio(tasks, MCP_TOOLSET=toolset))) as client:
        listed = await client.list_tools()
    return listed.tools


async def resources() -> str:
    """Every resource and prompt as a client sees it."""
    async with anyio.create_task_group() as tasks, Client(build_server(_studio(tasks))) as client:
        fixed = [(f"`{entry.uri}`", entry.description or "") for entry in (await client.list_resources()).resources]
        patterns = [(f"`{entry.uri_template}`", entry.description or "") for entry in (await client.list_resource_templates()).resource_templates]
        prompts = [(f"`{entry.name}` (prompt)", entry.description or "") for entry in (await client.list_prompts()).prompts]
    return table(("Name", "What it is"), [*fixed, *patterns, *prompts])


def _studio(tasks: TaskGroup, **environment: str) -> Studio:
    """One without a provider, for its surfaces to be looked at."""
    return Studio(Configuration(environment={}, settings=parse(Settings, environment), providers={}), tasks, dotenv=ROOT / ".env")


def tool_page(tool: types.Tool, *, core: bool) -> str:
    """One tool: what it does, and its arguments."""
    properties: dict[str, Any] = tool.input_schema.get("properties", {})
    required = tool.input_schema.get("required", [])
    where = "" if core else "\nOffered with `MCP_TOOLSET=full`, or when `MCP_TOOLS_ON` names it.\n"
    head = f"### {tool.name}\n\n{tool.description}\n{where}"
    if not properties:
        return f"{head}\nIt takes no arguments.\n"
    rows = (
        (f"`{name}`", kind_words(schema), "required" if name in required else value_words(schema.get("default")), schema.get("description", ""))
        for name, schema in properties.items()
    )
    return f"{head}\n{table(('Argument', 'Type', 'Default', 'Meaning'), rows)}"


def kind_words(schema: dict[str, Any]) -> str:
    """A JSON schema's type and limits, short."""
    if "anyOf" in schema:
        return " or ".join(kind_words(choice) for choice in schema["anyOf"] if choice.get("type") != "null")
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"] if value)
    low, high = schema.get("minimum"), schema.get("maximum")
    limits = f" {value_words(low).strip('`')}–{value_words(high).strip('`')}" if low is not None and high is not None else ""
    return f"{schema.get('type', 'any')}{limits}"


def value_words(value: Any) -> str:
    """A default value; a dash where leaving it out means nothing special."""
    if value is None or value == "":
        return "–"
    return f"`{str(value).lower() if isinstance(value, bool) else format(value, 'g') if isinstance(value, float) else value}`"


# Commands -----------------------------------------------------------------------------------------------------------------------------------


def commands() -> str:
    """Every command of the command line, with its options."""
    return "\n".join(command_page(name, command) for name, command in every_command())


def every_command() -> Iterator[tuple[str, TyperCommand]]:
    """Each command with the words that call it, in the order in which they are listed."""

    def inside(words: str, command: object) -> Iterator[tuple[str, TyperCommand]]:
        if isinstance(command, TyperGroup):
            for name, child in command.commands.items():
                yield from inside(f"{words} {name}", child)
        elif isinstance(command, TyperCommand):
            yield words, command

    yield from inside("mcp-image-server", get_command(app))


def command_page(name: str, command: TyperCommand) -> str:
    """One command: what it does, its arguments and options."""
    rows = []
    usage = [name]
    for parameter in command.params:
        if isinstance(parameter, TyperArgument):
            label = parameter.name or ""
            usage.append(label.upper() if parameter.required else f"[{label.upper()}]")
            rows.append((f"`{label.upper()}`", getattr(parameter, "help", None) or ""))
        elif isinstance(parameter, TyperOption) and "--help" not in parameter.opts:
            limits = f" {parameter.min} to {parameter.max}." if parameter.min is not None and parameter.max is not None else ""
            words = f"{parameter.help or ''}{limits}"
            rows.append((", ".join(f"`{option}`" for option in sorted(parameter.opts, key=len, reverse=True)), words))
    usage.append("[OPTIONS]")
    return f"### {name}\n\n{command.help}\n\n```text\n{' '.join(usage)}\n```\n\n{table(('Argument or option', 'Meaning'), rows)}"


# Errors -------------------------------------------------------------------------------------------------------------------------------------


def error_classes() -> str:
    """Every class of failure: its code, who can fix it, whether the same call may help, how the command line ends."""
    bases: tuple[type[errors.ImageServerError], ...] = (errors.RequestError, errors.ConfigError, errors.StorageError, errors.ProviderError)
    rows = []
    for base in bases:
        for kind in (base, *sorted(filter(_public, base.__subclasses__()), key=lambda kind: kind.default_code)):
            first = (kind.__doc__ or "").splitlines()[0]
            rows.append((f"`{kind.default_code}`", trouble_of(kind("")).who, first, "yes" if kind.retryable else "no", str(exit_code(kind("")))))
    return table(("Code", "Who can fix it", "Meaning", "Try again", "Exit code"), rows)


def _public(kind: type[errors.ImageServerError]) -> bool:
    """Whether callers may meet that kind: ours, and not a module's own affair. The table must not depend on what else the process imported."""
    return kind.__module__.startswith("mcp_image_server.") and not kind.__name__.startswith("_")


# Markdown -----------------------------------------------------------------------------------------------------------------------------------


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


if __name__ == "__main__":
    main(sys.argv[1:])
