"""Prompts with gaps: a text with variables, and what else a picture of that kind wants."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from ..errors import RequestError
from ..models import MAX_PROMPT_CHARS, parse_shape
from .styles import check_key

BUILTIN = Path(__file__).parent / "builtin"
"""The folder of the templates that come along."""

_GAP = re.compile(r"\{\{|\}\}|\{(\w+)\}")
"""A variable, or one of the two ways to write a brace."""

Kind = Literal["string", "choice", "number"]


@dataclass(frozen=True, kw_only=True)
class Variable:
    """One gap in a template."""

    name: str
    kind: Kind = "string"
    description: str = ""
    default: str | None = None
    """None: somebody has to say."""
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None

    def read(self, value: object) -> str:
        """The value as it goes into the prompt.

        Raises:
            ValueError: it is none that the variable takes; the message says what is.
        """
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            raise ValueError(f"{self.name} is {value!r}; write {'a number' if self.kind == 'number' else 'text'}")
        text = str(value).strip()
        match self.kind:
            case "string":
                return text
            case "choice":
                found = next((choice for choice in self.choices if choice.casefold() == text.casefold()), None)
                if found is None:
                    raise ValueError(f"{self.name} is {text!r}; choose one of: {', '.join(self.choices)}")
                return found
            case "number":
                return self._number(text)

    def _number(self, text: str) -> str:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        least, most = self.least, self.most
        if not math.isfinite(number) or (least is not None and number < least) or (most is not None and number > most):
            bounds = " ".join(
                words for words in (f"from {least:g}" if least is not None else "", f"to {most:g}" if most is not None else "") if words
            )
            raise ValueError(f"{self.name} is {text!r}; write a number {bounds}".rstrip())
        return str(int(number)) if number.is_integer() else str(number)

    @property
    def words(self) -> str:
        """What it takes, in a few words."""
        parts = ["|".join(self.choices) if self.choices else self.kind if self.kind != "string" else ""]
        parts.append("required" if self.default is None else f"default {self.default!r}")
        return f"{self.name} ({', '.join(part for part in parts if part)})"


@dataclass(frozen=True, kw_only=True)
class Template:
    """A prompt with gaps, and what the request says besides; empty strings leave that open."""

    key: str
    title: str
    prompt: str
    description: str = ""
    variables: tuple[Variable, ...] = ()
    negative_prompt: str = ""
    provider: str = ""
    model: str = ""
    style: str = ""
    resolution: str = ""
    quality: str = ""
    background: Literal["", "transparent", "opaque", "auto"] = ""
    output_format: str = ""
    source: Path
    """The file it was read from."""

    @property
    def is_own(self) -> bool:
        """Somebody here wrote it; it did not come along."""
        return self.source.parent != BUILTIN

    def filled(self, values: Mapping[str, object]) -> Template:
        """The same without gaps.

        Raises:
            RequestError: `invalid_variables`: one is missing, wrong, unknown or far too long. The message names each of them and what the template takes.
        """
        known = {variable.name: variable for variable in self.variables}
        texts: dict[str, str] = {}
        missing, problems = [], []
        for name, variable in known.items():
            value = values.get(name)
            try:
                text = variable.read(value) if value not in (None, "") else ""  # clients send what was left empty
            except ValueError as error:
                problems.append(str(error))
                continue
            if not text and variable.default is None:
                missing.append(name)
            texts[name] = text or variable.default or ""
        unknown = [name for name in values if name not in known]
        if missing or problems or unknown:
            said = [f"missing: {', '.join(missing)}"] if missing else []
            said += problems
            said += [f"it has no variable {', '.join(map(repr, unknown))}"] if unknown else []
            takes = f"Its variables: {'; '.join(variable.words for variable in self.variables)}." if known else "It has no variables."
            raise RequestError(
                f"Template {self.key!r} cannot be filled: {'; '.join(said)}. {takes}",
                code="invalid_variables",
                details={"template": self.key, "missing": missing, "wrong": problems, "unknown": unknown, "variables": list(known)},
            )
        for text in (self.prompt, self.negative_prompt):
            length = len(text) + sum(len(texts[found[1]]) for found in _GAP.finditer(text) if found[1])
            if length > 2 * MAX_PROMPT_CHARS:  # a gap may be there thousands of times, and what fills it be long
                words = f"Template {self.key!r} would become {length:,} characters long; no model takes more than {MAX_PROMPT_CHARS:,}. Write less."
                raise RequestError(words, code="invalid_variables", details={"template": self.key})
        return replace(self, variables=(), prompt=_filled(self.prompt, texts), negative_prompt=_filled(self.negative_prompt, texts))


def _filled(text: str, texts: Mapping[str, str]) -> str:
    def gap(found: re.Match[str]) -> str:
        return texts[found[1]] if found[1] else found[0][0]

    return _GAP.sub(gap, text)


def _as_text(value: object) -> object:
    """A default is text, also where somebody wrote a number."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _or_nothing(value: object) -> object:
    """`subject:` alone is a variable, too."""
    return value or {}


class VariableEntry(BaseModel):
    """A variable as a file has it."""

    model_config = ConfigDict(extra="forbid")

    type: Kind | None = None
    description: str = Field("", max_length=500)
    default: Annotated[str | None, BeforeValidator(_as_text)] = Field(None, max_length=4000)
    choices: list[str] = Field([], max_length=100)
    min: float | None = Field(None, allow_inf_nan=False)
    max: float | None = Field(None, allow_inf_nan=False)

    @classmethod
    def of(cls, variable: Variable) -> VariableEntry:
        """The variable as a file would have it."""
        return cls(
            type=variable.kind,
            description=variable.description,
            default=variable.default,
            choices=list(variable.choices),
            min=variable.least,
            max=variable.most,
        )

    def variable(self, name: str) -> Variable:
        """What it says.

        Raises:
            ValueError: that does not go together.
        """
        kind = self.type or ("choice" if self.choices else "number" if self.min is not None or self.max is not None else "string")
        if (kind == "choice") != bool(self.choices):
            raise ValueError(f"variable {name}: a choice has choices, and nothing else has")
        if kind != "number" and (self.min is not None or self.max is not None):
            raise ValueError(f"variable {name}: min and max are for numbers")
        found = Variable(name=name, kind=kind, description=self.description, choices=tuple(self.choices), least=self.min, most=self.max)
        return found if self.default is None else replace(found, default=found.read(self.default) if self.default or kind != "string" else "")


class TemplateEntry(BaseModel):
    """A template as a file has it."""

    model_config = ConfigDict(extra="forbid")

    title: str = Field("", max_length=200)
    description: str = Field("", max_length=1000)
    prompt: str = Field(min_length=1, max_length=MAX_PROMPT_CHARS)
    variables: dict[str, Annotated[VariableEntry, BeforeValidator(_or_nothing)]] = Field(default_factory=dict, max_length=100)
    negative_prompt: str = ""
    provider: str = ""
    model: str = ""
    style: str = ""
    resolution: str = ""
    quality: str = ""
    background: Literal["", "transparent", "opaque", "auto"] = ""
    output_format: Literal["", "png", "jpeg", "webp"] = ""

    @classmethod
    def of(cls, template: Template) -> TemplateEntry:
        """The template as a file would have it."""
        settings = {name: getattr(template, name) for name in cls.model_fields if name != "variables"}
        return cls(**settings, variables={variable.name: VariableEntry.of(variable) for variable in template.variables})

    def template(self, key: str, source: Path) -> Template:
        """What it says, under that key.

        Raises:
            ValueError: its text and its variables do not agree, or the key is none.
        """
        variables = tuple(entry.variable(name) for name, entry in self.variables.items())
        used = {found[1] for text in (self.prompt, self.negative_prompt) for found in _GAP.finditer(text) if found[1]}
        if undeclared := sorted(used - self.variables.keys()):
            raise ValueError(
                f"the prompt has {', '.join(f'{{{name}}}' for name in undeclared)}, which variables does not name; write {{{{ for a brace"
            )
        if unused := [name for name in self.variables if name not in used]:
            raise ValueError(f"the prompt has no place for {', '.join(f'{{{name}}}' for name in unused)}")
        parse_shape(self.resolution)
        settings = self.model_dump(exclude={"variables", "title", "prompt"})
        return Template(key=check_key(key), title=self.title or key, prompt=self.prompt.strip(), variables=variables, source=source, **settings)


def read_template(path: Path, value: object) -> dict[str, Template]:
    """The template of a file, under the file's name.

    Raises:
        ValueError: it holds something else, or its text and its variables do not agree.
    """
    template = TemplateEntry.model_validate(value).template(path.stem, path)
    return {template.key: template}
