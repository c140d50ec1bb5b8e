"""What the operator knows better about models than this program: a file with facts that correct the built-in table, add to it, and choose another default.

One table for each provider, in TOML::

    [openai]
    default = "gpt-image-3"

    [openai.models."gpt-image-2"]
    ends = 2027-03-01
    price = { amount = 0.05, currency = "USD", as_of = 2026-12-01 }

    [openai.models."gpt-image-3"]
    like = "gpt-image-2"
    title = "GPT Image 3"
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Discriminator, Field, Tag, ValidationError, create_model

from .errors import ConfigError
from .models import Catalogue, Model, Price, Size, SizeList, SizeRange, find_model, parse_shape


def _size(value: object) -> object:
    shape = parse_shape(value) if isinstance(value, str) else None
    if not isinstance(shape, Size):
        raise ValueError('write a size such as "1024x768"')
    return shape


def _table(kind: type[Any], example: str) -> Callable[[object], object]:
    """Reads a table with the fields of that class and no others."""
    known = [each.name for each in fields(kind)]

    def read(value: object) -> object:
        if not isinstance(value, dict):
            raise ValueError(f"write a table such as {example}")
        if unknown := value.keys() - set(known):
            raise ValueError(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(known)}")
        return value

    return read


def _price(value: Price) -> Price:
    if not 0 <= value.amount < math.inf:
        raise ValueError("amount must be 0 or more")
    if not re.fullmatch("[A-Z]{3}", value.currency):
        raise ValueError("currency must be a code of three capitals such as USD")
    return value


_RANGE = _table(SizeRange, "{ min_edge = 256, max_edge = 2048, max_pixels = 4194304, multiple = 16 }, or a list of sizes")
_PRICE = _table(Price, '{ amount = 0.05, currency = "USD", as_of = 2026-12-01 }')

_LISTED, _WITHIN = "listed", "within"
_Sizes = Annotated[
    Annotated[SizeList, BeforeValidator(lambda value: {"sizes": [_size(each) for each in value]}), Tag(_LISTED)]
    | Annotated[SizeRange, BeforeValidator(_RANGE), Tag(_WITHIN)],
    Discriminator(lambda value: _LISTED if isinstance(value, list) else _WITHIN),
]

_READ: Mapping[str, Any] = {
    "sizes": _Sizes,
    "default_size": Annotated[Size, BeforeValidator(_size)],
    "price": Annotated[Price, BeforeValidator(_PRICE), AfterValidator(_price)],
    "max_count": Annotated[int, Field(ge=1)],
    "max_images": Annotated[int, Field(ge=0)],
    "max_prompt_chars": Annotated[int, Field(ge=1)],
}
"""Fields that are written otherwise than they are kept, or have bounds."""

FACTS = {name: _READ.get(name, hint) for name, hint in get_type_hints(Model).items() if name not in ("provider", "id")}
"""Every fact about a model that the file can have, and its kind."""

_STRICT = ConfigDict(extra="forbid", frozen=True)
_Name = Annotated[str, Field(min_length=1)]
_FIELDS: dict[str, Any] = {"like": (_Name, None), **{name: (kind, None) for name, kind in FACTS.items()}}
_Facts: Any = create_model("_Facts", __config__=_STRICT, **_FIELDS)
_Provider: Any = create_model("_Provider", __config__=_STRICT, default=(_Name, None), models=(dict[_Name, _Facts], Field(default_factory=dict)))


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What the file says of one provider."""

    default: str | None = None
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Ids to facts, as `Model` has them; `like` names the model whose facts a new one begins with, but for aliases, price and end."""


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """The operator's file of models, read and checked."""

    path: Path
    providers: Mapping[str, Changes]

    @classmethod
    def read(cls, path: Path, known: Collection[str]) -> ModelFile:
        """What the file says.

        Args:
            known: names of providers.

        Raises:
            ConfigError: it cannot be read or something in it is wrong; the message names file, table and field.
        """
        try:
            tables = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"MCP_MODELS_FILE: cannot read {path}: {error}. Save it as UTF-8 text, or unset the variable.") from error
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"MCP_MODELS_FILE: {path} is not TOML: {error}.") from error
        problems: list[str] = []
        providers: dict[str, Changes] = {}
        for name, table in tables.items():
            if name not in known:
                problems.append(f"[{name}]: there is no such provider; there are: {', '.join(known)}.")
                continue
            try:
                read = _Provider.model_validate(table)
            except ValidationError as error:
                problems += [_words(name, problem) for problem in error.errors(include_url=False)]
                continue
            models = {model: {fact: getattr(facts, fact) for fact in facts.model_fields_set} for model, facts in read.models.items()}
            providers[name] = Changes(default=read.default, models=models)
        if problems:
            raise ConfigError(f"MCP_MODELS_FILE: {path} is wrong. {' '.join(problems)}", details={"problems": problems})
        return cls(path=path, providers=providers)

    def applied(self, catalogue: Catalogue) -> Catalogue:
        """The catalogue with what the file says of it; new models stand at the end.

        Raises:
            ConfigError: it says something that cannot be of this catalogue.
        """
        changes = self.providers.get(catalogue.provider)
        if changes is None:
            return catalogue
        models = {model.id: model for model in catalogue.models}
        for name, facts in changes.models.items():
            models[name] = replace(models.get(name) or self._new(catalogue, name, facts, models), **{k: v for k, v in facts.items() if k != "like"})
        self._check_names(catalogue.provider, list(models.values()))
        default = changes.default or catalogue.default_model
        if find_model(tuple(models.values()), default) is None:
            if catalogue.unknown is None:
                raise self._wrong(f"[{catalogue.provider}], default: there is no model {default!r}; there are: {', '.join(models)}.")
            models[default] = replace(catalogue.unknown, id=default, title=default)
        return replace(catalogue, models=tuple(models.values()), default_model=default)

    def _new(self, catalogue: Catalogue, name: str, facts: Mapping[str, Any], models: Mapping[str, Model]) -> Model:
        """What a model that the table does not have begins with."""
        like = facts.get("like")
        if like is None:
            return replace(catalogue.unknown or Model(provider=catalogue.provider, id=name), id=name, title=name)
        known = find_model(tuple(models.values()), like)
        if known is None:
            raise self._wrong(f"{_table_name(catalogue.provider, name)}, like: there is no model {like!r}; there are: {', '.join(models)}.")
        return replace(known, id=name, title=name, aliases=(), price=None, ends=None)

    def _check_names(self, provider: str, models: Sequence[Model]) -> None:
        owners: dict[str, str] = {}
        for model in models:
            for name in (model.id, *model.aliases):
                if name in owners:
                    raise self._wrong(f"{_table_name(provider, model.id)}: {name!r} already is a name of {owners[name]}.")
                owners[name] = model.id

    def _wrong(self, words: str) -> ConfigError:
        return ConfigError(f"MCP_MODELS_FILE: {self.path} is wrong. {words}")


def _table_name(provider: str, model: str) -> str:
    return f'[{provider}.models."{model}"]'


def _words(provider: str, problem: Any) -> str:
    """One mistake, with its table and field."""
    match [str(part) for part in problem["loc"]]:
        case ["models", model, *rest]:
            table, place = _table_name(provider, model), rest
        case place:
            table = f"[{provider}]"
    name = ".".join(part for part in place if part not in (_LISTED, _WITHIN))
    text = str(problem["msg"]).removeprefix("Value error, ").rstrip(".")
    if problem["type"] == "extra_forbidden":
        text = f"there is no such field; there are {', '.join((_Provider if table == f'[{provider}]' else _Facts).model_fields)}"
    if problem["type"] == "model_type":
        text = "write a table"
    value = problem.get("input")
    shown = f" (it is {value!r})" if isinstance(value, str | int | float) and problem["type"] != "extra_forbidden" else ""
    return f"{table}{f', {name}' if name else ''}: {text}{shown}."
