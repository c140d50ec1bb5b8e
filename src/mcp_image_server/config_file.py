"""Settings in a TOML file.

Each name is that of the variable in lower case, without `MCP_`, and values are of TOML's own kinds::

    default_provider = "openai"
    allowed_origins = ["https://example.com"]
    budget_day = 5

    [limits]
    openai = { concurrent = 8 }

    [providers.openai]
    openai_api_key = "sk-..."
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from . import providers as provider_list
from .errors import ConfigError
from .settings import Environment, Settings

PROVIDERS = "providers"
"""The table that holds a table for each provider."""

NOT_INSIDE = "config_file"
"""The one setting that the file cannot have, for it says where the file is."""


def read_file(path: Path) -> Environment:
    """What the file sets, as variables: numbers and truth values as words, lists and tables as JSON.

    Raises:
        ConfigError: it cannot be read, or has names that nobody knows; the message names each, and the nearest one that would do.
    """
    found, problems = examine_file(path)
    if problems:
        raise ConfigError(f"{path} is wrong. {' '.join(problems)}", details={"problems": problems})
    return found


def examine_file(path: Path) -> tuple[Environment, list[str]]:
    """What the file sets as far as it is right, and what is wrong with its names.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        written = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}. Save it as UTF-8 text, or name another file with MCP_CONFIG_FILE.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}. Text stands in quotes, and each name stands in its table once.") from error
    found: dict[str, str] = {}
    problems = [*_take(written, found)]
    return found, problems


def _take(written: Mapping[str, Any], found: dict[str, str]) -> Iterator[str]:
    """Puts what is written under its variables, and says what is wrong."""
    known = {str(info.alias).removeprefix("MCP_").lower(): str(info.alias) for info in Settings.model_fields.values()}
    for name, value in written.items():
        if name == PROVIDERS:
            yield from _take_providers(value, found)
        elif name == NOT_INSIDE:
            yield f"{name} cannot stand in the file itself; set MCP_CONFIG_FILE, or start with --config."
        elif name in known:
            found[known[name]] = _text(value)
        else:
            yield f"{name}: there is no such setting; {_advice(name, known)}."


def _take_providers(tables: object, found: dict[str, str]) -> Iterator[str]:
    if not isinstance(tables, dict):
        yield f"{PROVIDERS} is no setting but holds tables; write [{PROVIDERS}.openai]."
        return
    for provider, table in tables.items():
        if provider not in provider_list.names():
            near = _nearest(provider, provider_list.names())
            advice = f"write {near}" if near else f"there are: {', '.join(provider_list.names())}"
            yield f"[{PROVIDERS}.{provider}]: there is no such provider; {advice}."
            continue
        if not isinstance(table, dict):
            yield f"{PROVIDERS}.{provider} is no setting but a table; write [{PROVIDERS}.{provider}] and its settings below."
            continue
        known = {variable.lower(): variable for variable in provider_list.variables(provider)}
        for name, value in table.items():
            variable = known.get(name)
            if variable is None:
                near = _nearest(name, known)
                advice = f"write {near}" if near else f"there are: {', '.join(known)}" if known else "this provider has no settings"
                yield f"[{PROVIDERS}.{provider}], {name}: there is no such setting; {advice}."
            elif found.setdefault(variable, _text(value)) != _text(value):
                yield f"[{PROVIDERS}.{provider}], {name}: another table gives it another value; it can have but one."


def _advice(name: str, known: Collection[str]) -> str:
    """What whoever wrote that name at the top may have meant."""
    if name in provider_list.names():
        return f"write [{PROVIDERS}.{name}]"
    plain = name.lower().removeprefix("mcp_")
    for provider in provider_list.names():
        if plain in (variable.lower() for variable in provider_list.variables(provider)):
            return f"write it as {plain} under [{PROVIDERS}.{provider}]"
    if near := _nearest(plain, [*known, PROVIDERS]):
        return f"write {near}"
    if near := _nearest(plain, provider_list.names()):
        return f"write [{PROVIDERS}.{near}]"
    return "`mcp-image-server config show` lists those there are"


def _nearest(name: str, known: Collection[str]) -> str | None:
    return next(iter(get_close_matches(name.lower(), known, n=1)), None)


def _text(value: object) -> str:
    """A value as the environment would have it."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str).removeprefix('"').removesuffix('"')
