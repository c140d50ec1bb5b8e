"""The configuration, looked at: everything that is wrong with it at once, and where each value comes from. No secret is in what comes out."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Literal, TypeVar

from pydantic.fields import FieldInfo

from . import providers as provider_list
from .config_file import examine_file
from .configuration import NOTHING, Configuration, config_path
from .errors import ConfigError
from .redaction import redacted
from .settings import OBSOLETE, SECRET_WORDS, Environment, Settings, parse, read_dotenv, read_process

T = TypeVar("T")

Place = Literal["option", "process", ".env", "file", "default"]
"""Where a value comes from: the command line, the process environment, the `.env` file, the TOML file, or this program."""

_VARIABLE = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b")
_PASSWORD = re.compile(r"(?<=://)[^/@\s]+(?=@)")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong, and what would be right."""

    words: str
    variable: str = ""
    """Empty where it is not about one."""
    place: Place | None = None


@dataclass(frozen=True, kw_only=True)
class Value:
    """What a variable is set to."""

    variable: str
    text: str | None
    """None: a secret, which is not shown."""
    place: Place


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was found."""

    file: Path | None
    """The TOML file, where there is one."""
    problems: tuple[Problem, ...]
    """With any of these the server does not start."""
    notes: tuple[str, ...]
    """What is no mistake but may not be what was meant."""
    values: tuple[Value, ...]
    """Every setting of the server, and those of the providers in use; what is not set, with its default."""
    settings: Settings | None
    """As the server would have them; None where they are wrong."""

    @property
    def ok(self) -> bool:
        """A server would start."""
        return not self.problems


def check(dotenv: Path, *, process: Mapping[str, str] | None = None, options: Environment = NOTHING) -> Report:
    """The configuration that a start with this `.env` file, process environment and command line would have. Nothing is called or written."""
    problems: list[Problem] = []
    places: dict[Place, Environment] = {"option": options, "process": read_process(process)}
    places[".env"] = _tried(lambda: read_dotenv(dotenv), ".env", problems)
    path = config_path(dotenv, places.values())
    places["file"] = NOTHING if path is None else _tried(lambda: _of_file(path, problems), "file", problems)
    merged = {name: value for place in reversed(places.values()) for name, value in place.items()}
    environment = {name: value for name, value in merged.items() if value.strip()}

    def tried(read: Callable[[Environment], T]) -> T | None:
        try:
            return read(environment)
        except ConfigError as error:
            for words in error.details.get("problems", [error.message]):
                variable = next(iter(_VARIABLE.findall(words)), "")
                problems.append(Problem(words=words, variable=variable, place=_place_of(variable, places)))
            return None

    settings = tried(lambda environment: parse(Settings, environment))
    used = [name for name, switches in provider_list.SWITCHES.items() if not switches or not environment.keys().isdisjoint(switches)]
    for source in filter(None, map(provider_list.source, used)):
        tried(source.load)
    if not problems:
        tried(Configuration.read)
    return Report(
        file=path,
        problems=tuple(problems),
        notes=tuple(_notes(environment, path, places["file"])),
        values=tuple(_values(used, environment, places)),
        settings=settings,
    )


def _tried(read: Callable[[], Environment], place: Place, problems: list[Problem]) -> Environment:
    try:
        return read()
    except ConfigError as error:
        problems.append(Problem(words=error.message, place=place))
        return MappingProxyType({})


def _of_file(path: Path, problems: list[Problem]) -> Environment:
    found, wrong = examine_file(path)
    problems += [Problem(words=words, place="file") for words in wrong]
    return found


def _place_of(variable: str, places: Mapping[Place, Environment]) -> Place | None:
    return next((place for place, said in places.items() if variable in said), None)


def _notes(environment: Environment, path: Path | None, in_file: Environment) -> Iterator[str]:
    """What may not be what was meant."""
    known = {str(info.alias) for info in Settings.model_fields.values()}
    for name in environment:
        if name in OBSOLETE:
            yield f"{name} does nothing any more: {OBSOLETE[name]}. Remove it."
        elif name.startswith("MCP_") and name not in known:  # others have variables with MCP_ too, so it is no mistake
            near = get_close_matches(name, known, n=1, cutoff=0.8)
            if near:
                yield f"{name} is no setting of this server. If you meant {near[0]}, write that."
    secrets = [name for name in in_file if is_secret(name)]
    if path is not None and secrets and os.name == "posix" and path.is_file() and path.stat().st_mode & 0o077:
        yield f"{path} holds secrets, and others on this machine may read it. Run: chmod 600 {path}"


def _values(used: list[str], environment: Environment, places: Mapping[Place, Environment]) -> Iterator[Value]:
    fields = {str(info.alias): info for info in Settings.model_fields.values()}
    for name in provider_list.names():
        config = getattr(provider_list.source(name), "Config", None)
        own = {str(info.alias or field): info for field, info in config.model_fields.items()} if config is not None else {}
        fields |= {variable: info for variable, info in own.items() if name in used or variable in environment}
    for variable, info in fields.items():
        if variable not in environment:
            yield Value(variable=variable, text=_default(info), place="default")
        else:
            text = None if is_secret(variable, info) else redacted(_PASSWORD.sub("***", environment[variable]))
            yield Value(variable=variable, text=text, place=_place_of(variable, places) or "default")


def is_secret(variable: str, info: FieldInfo | None = None) -> bool:
    """Whether its value is never shown."""
    return any(word in variable for word in SECRET_WORDS) or (info is not None and "SecretStr" in repr(info.annotation))


def _default(info: FieldInfo) -> str:
    """A default as one would write it; empty where there is none."""
    default = info.get_default(call_default_factory=True, validated_data={})
    match default:
        case None:
            return ""
        case bool():
            return str(default).lower()
        case tuple() if not default:
            return "[]"
        case Mapping() if not default:
            return "{}"
        case _:
            return str(default)
