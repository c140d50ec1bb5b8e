"""What a list of rows means: an item for each picture that is wanted."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from ..asking import copy_at, fallback_of, polling_of, request_of
from ..errors import RequestError
from ..models import ImageRequest
from ..policy.routing import Address

MAX_ITEMS = 5000
"""In one batch."""

MAX_MODELS = 20
"""That draw each row."""

MAX_FILE_BYTES = 20_000_000

ENDINGS = (".csv", ".jsonl", ".yaml", ".yml", ".txt")
"""Of the files that rows are read from."""

ReadAddress = Callable[..., Address]
"""`Workshop.read_address`."""


def is_batch_id(text: str) -> bool:
    """Whether the text could be the id of a batch."""
    return re.fullmatch(r"batch-[0-9a-f]{16}", text) is not None


@dataclass(frozen=True, kw_only=True)
class Item:
    """One picture that is wanted."""

    arguments: Mapping[str, Any]
    """Those of generate_image that were given, for one picture."""
    place: str
    """Where it was asked for, such as `line 7`."""

    def to_json(self) -> dict[str, Any]:
        """As the record keeps it."""
        return {"place": self.place, "arguments": dict(self.arguments)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Item:
        """Read back from the record."""
        return cls(arguments=data["arguments"], place=data["place"])


# ---------------------------------------------------------------------- rows


def _json_object(value: object) -> object:
    """Cells of a table hold text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError('write a JSON object, for example {"steps": 30}') from None


class Row(BaseModel):
    """One line of a list: the arguments of generate_image under the same names. What is left empty is as if it were not there."""

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

    prompt: str = ""
    template: str = ""
    variables: Annotated[dict[str, Any] | None, BeforeValidator(_json_object)] = None
    provider: str = ""
    model: str = ""
    style: str = ""
    resolution: str = ""
    size: str = ""
    negative_prompt: str = ""
    file_prefix: str = ""
    background: Literal["", "transparent", "opaque", "auto"] = ""
    output_format: Literal["", "png", "jpeg", "webp"] = ""
    output_compression: int | None = None
    moderation: Literal["", "auto", "low"] = ""
    n: int = Field(1, ge=1, le=100)
    seed: int | None = Field(None, ge=0, le=2**32 - 1)
    quality: str = ""
    options: Annotated[dict[str, Any] | None, BeforeValidator(_json_object)] = None
    fallback: str = ""
    output_filename: str = ""
    output_dir: str = ""
    economy: bool = False
    poll_interval_seconds: float | None = Field(None, gt=0)
    max_poll_attempts: int | None = Field(None, ge=1)
    poll_backoff: bool | None = None
    max_poll_interval_seconds: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _shows_something(self) -> Self:
        if not (self.prompt.strip() or self.template):
            raise ValueError("there is no prompt")
        return self


@dataclass(frozen=True, kw_only=True)
class Written:
    """A row as it was written, not yet looked at."""

    place: str
    value: Any
    """An object of arguments, or a prompt alone."""


def numbered(values: Iterable[Any]) -> list[Written]:
    """Rows that stand in no file: prompts, and objects of arguments."""
    return [Written(place=f"item {number}", value=value) for number, value in enumerate(values, 1)]


def read_rows(path: Path) -> list[Written]:
    """The rows of a file.

    `.csv`: a table whose first line names the arguments; `.jsonl`: an object or a prompt on each line; `.yaml`: a list of these; `.txt`: a prompt on each line.

    Raises:
        RequestError: the file cannot be read, or parts of it are no rows (`invalid_rows`).
    """
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise RequestError(f"{path.name} is no list of prompts that can be read; its name ends in one of {', '.join(ENDINGS)}.", code="invalid_rows")
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise RequestError(f"{path} has more than {MAX_FILE_BYTES:,} bytes; divide it.", code="invalid_rows")
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as exc:
        raise RequestError(f"{path} is not written in UTF-8; save it anew in that encoding.", code="invalid_rows") from exc
    except OSError as exc:
        raise RequestError(f"{path} cannot be read: {exc.strerror or exc}.", code="invalid_rows") from exc
    match ending:
        case ".csv":
            return list(_table_rows(text))
        case ".jsonl":
            return _json_rows(text)
        case ".txt":
            return [Written(place=place, value=line.strip()) for place, line in _lines(text)]
        case _:
            return _yaml_rows(text)


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """The lines that hold anything, with their numbers."""
    # Not `splitlines`, which also parts at characters that a prompt may hold.
    return ((f"line {number}", line) for number, line in enumerate(text.split("\n"), 1) if line.strip())


def _table_rows(text: str) -> Iterator[Written]:
    heading = text.partition("\n")[0]
    delimiter = max(",;\t", key=heading.count)
    # Strict, since a quotation mark that is never closed would make one long prompt of all rows to the end.
    table = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, restkey="", skipinitialspace=True, strict=True)
    try:
        names = {name: name.strip().lower() for name in table.fieldnames or () if name.strip()}
        if twice := sorted(name for name, times in Counter(map(str.lower, map(str.strip, table.fieldnames or ()))).items() if name and times > 1):
            raise unusable([Bad(place="line 1", message=f"several columns are called {', '.join(twice)}.")])
        for row in table:
            cells = {names.get(name, "a cell without a name"): cell for name, cell in row.items() if cell}
            if cells:
                first = table.line_num - sum(str(cell).count("\n") for cell in cells.values())
                yield Written(place=f"line {first}", value=cells)
    except csv.Error as exc:
        words = f"this is no table: {exc}. In a cell with quotation marks around it, each one inside is written twice."
        raise unusable([Bad(place=f"line {table.line_num + 1}", message=words)]) from exc


def _json_rows(text: str) -> list[Written]:
    rows: list[Written] = []
    bad: list[Bad] = []
    for place, line in _lines(text):
        try:
            rows.append(Written(place=place, value=json.loads(line, object_pairs_hook=_once_each)))
        except _TwiceError as error:
            bad.append(Bad(place=place, message=f"{error.name} stands there twice."))
        except ValueError as error:
            bad.append(Bad(place=place, message=f"this is no JSON: {error}."))
    refuse(bad)
    return rows


class _TwiceError(Exception):
    """An object has a name twice, of which one value would be lost."""

    def __init__(self, name: Any) -> None:
        super().__init__(name)
        self.name = name


def _once_each(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _TwiceError(name)
        found[name] = value
    return found


def _yaml_rows(text: str) -> list[Written]:
    import yaml

    class Loader(yaml.SafeLoader):
        """With the plain values of YAML 1.2 alone: in 1.1, `16:9` is a number, `no` is false, and a day is no text."""

        yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012 - what the library calls it, and fills below

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            """The object; a name that stands there twice is an error."""
            try:
                _once_each((self.construct_object(name, deep=True), None) for name, _ in node.value)
            except _TwiceError as error:
                raise yaml.constructor.ConstructorError(None, None, f"{error.name} stands there twice", node.start_mark) from None
            return super().construct_mapping(node, deep)

    for name, pattern, starts in (
        ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
        ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
        ("int", r"[-+]?(?:0|[1-9][0-9]*)", list("-+0123456789")),
        ("float", r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ):
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{name}", re.compile(rf"(?:{pattern})\Z"), starts)
    loader = Loader(text)
    try:
        document = loader.get_single_node()
        if not isinstance(document, yaml.SequenceNode):
            raise RequestError("The file holds no list; begin each row with `- `.", code="invalid_rows")
        return [Written(place=f"line {node.start_mark.line + 1}", value=_yaml_value(loader, node)) for node in document.value]
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        place = f"line {mark.line + 1}" if mark else "the file"
        raise unusable([Bad(place=place, message=f"this is no YAML: {getattr(exc, 'problem', None) or exc}.")]) from exc
    finally:
        loader.dispose()


def _yaml_value(loader: Any, node: Any) -> Any:
    """What the node holds, as far as JSON has it: names are text."""
    try:
        return json.loads(json.dumps(loader.construct_object(node, deep=True)))
    except (TypeError, ValueError, RecursionError) as exc:
        message = "this holds something else than texts, numbers, lists and objects."
        raise unusable([Bad(place=f"line {node.start_mark.line + 1}", message=message)]) from exc


@dataclass(frozen=True, kw_only=True)
class Bad:
    """What is wrong with a row."""

    place: str
    message: str


def unusable(bad: Sequence[Bad]) -> RequestError:
    """All that is wrong, in one error."""
    found = list(dict.fromkeys(bad))
    shown = "\n".join(f"{each.place}: {each.message}" for each in found[:20])
    more = f"\n… and {len(found) - 20} more." if len(found) > 20 else ""
    places = len({each.place for each in found})
    rows = "1 row cannot be drawn" if places == 1 else f"{places} rows cannot be drawn"
    details = {"rows": [{"place": each.place, "message": each.message} for each in found[:MAX_ITEMS]]}
    return RequestError(f"{rows}, and nothing was sent.\n{shown}{more}", code="invalid_rows", details=details)


def refuse(bad: Sequence[Bad]) -> None:
    """Passes when nothing is wrong.

    Raises:
        RequestError: `invalid_rows`.
    """
    if bad:
        raise unusable(bad)


def expand(rows: Iterable[Written], *, models: Sequence[str] = (), n: int = 1, economy: bool = False) -> list[Item]:
    """One item for each picture: every row, for every model, as many times as wanted.

    With a seed, each further picture of a row has the next one.

    Args:
        models: model ids or `provider/model`, for rows that name neither provider nor model; none: the server's default.
        n: pictures of each, for rows that do not say.
        economy: they may take a day, for half the price, where rows do not say otherwise.

    Raises:
        RequestError: rows that cannot be, all at once (`invalid_rows`).
    """
    if len(models) > MAX_MODELS:
        raise RequestError(f"These are {len(models):,} models; name at most {MAX_MODELS}.", code="invalid_rows")
    if len(rows := list(rows)) > MAX_ITEMS:
        raise RequestError(f"These are {len(rows):,} rows; divide the list. A batch has 1 to {MAX_ITEMS:,} pictures.", code="invalid_rows")
    items: list[Item] = []
    bad: list[Bad] = []
    copies: dict[PurePath, str] = {}
    total = 0
    for row in rows:
        try:
            arguments = _arguments(row.value)
        except ValidationError as error:
            if error.error_count() > len(Row.model_fields):
                bad.append(Bad(place=row.place, message=f"{error.error_count():,} things are wrong with it."))
            else:
                bad += [Bad(place=row.place, message=_words(problem)) for problem in error.errors(include_url=False)]
            continue
        times = arguments.pop("n", n)
        named = not models or arguments.keys() & {"model", "provider"}
        if economy:
            arguments.setdefault("economy", True)
        alternatives: list[dict[str, Any]] = [{}] if named else [{"model": model} for model in models]
        total += len(alternatives) * times
        wanted = [(model, number) for model in alternatives for number in range(times)] if total <= MAX_ITEMS else []
        for index, (model, number) in enumerate(wanted):
            seed = {"seed": (arguments["seed"] + number) % 2**32} if "seed" in arguments else {}
            copy = _copy(arguments, index=index, position=len(items))
            items.append(Item(arguments={**arguments, **model, **seed, **copy}, place=row.place))
            if copy and (other := copies.setdefault(PurePath(arguments.get("output_dir", ""), copy["output_filename"]), row.place)) != row.place:
                bad.append(Bad(place=row.place, message=f"output_filename: its copy would overwrite that of {other}."))
    refuse(bad)
    if not 1 <= total <= MAX_ITEMS:
        words = f"These are {total:,} pictures; divide the list." if total else "There is nothing to draw: no row has a prompt."
        raise RequestError(f"{words} A batch has 1 to {MAX_ITEMS:,}.", code="invalid_rows")
    return items


def _arguments(value: Any) -> dict[str, Any]:
    given = {"prompt": value} if isinstance(value, str) else value
    if isinstance(given, dict):
        given = {name: each for name, each in given.items() if each not in ("", None)}
    return Row.model_validate(given).model_dump(exclude_unset=True)


def _copy(arguments: Mapping[str, Any], *, index: int, position: int) -> dict[str, str]:
    """The name of an item's copy, where one is wanted: each further picture of a row has a number, and one without a name has that of its position."""
    if name := arguments.get("output_filename"):
        path = PurePath(name)
        return {"output_filename": str(path.with_stem(f"{path.stem}-{index + 1}")) if index else name}
    return {"output_filename": f"{position + 1:04}.png"} if "output_dir" in arguments else {}


def _words(problem: Any) -> str:
    name = ".".join(map(str, problem["loc"])) or "the row"
    if problem["type"] == "extra_forbidden":
        return f"{name} is no argument; there are {', '.join(Row.model_fields)}."
    if problem["type"] == "value_error":
        words = problem["msg"].removeprefix("Value error, ")
        return f"{name}: {words}." if problem["loc"] else f"{words}."
    if problem["type"] == "model_type":
        return "this is neither a prompt nor an object of arguments."
    return f"{name}: {problem['msg']}."


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What an item means."""

    request: ImageRequest
    fallback: Sequence[str]
    """Who may draw instead."""
    template: str
    """What makes the prompt, where anything does."""
    variables: Mapping[str, Any]


def wanted_by(item: Item, read_address: ReadAddress) -> Wanted:
    """What an item means.

    Raises:
        RequestError: its resolution cannot be read.
    """
    row = Row.model_validate(item.arguments)
    address = read_address(provider=row.provider, model=row.model, style=row.style, resolution=row.resolution or row.size)
    request = request_of(
        address,
        prompt=row.prompt,
        negative_prompt=row.negative_prompt,
        file_prefix=row.file_prefix,
        background=row.background,
        output_format=row.output_format,
        output_compression=row.output_compression,
        moderation=row.moderation,
        seed=row.seed,
        quality=row.quality,
        economy=row.economy,
        options=row.options,
        polling=polling_of(
            interval=row.poll_interval_seconds,
            attempts=row.max_poll_attempts,
            backoff=row.poll_backoff,
            max_interval=row.max_poll_interval_seconds,
        ),
        save_as=copy_at(row.output_dir, row.output_filename),
    )
    return Wanted(request=request, fallback=fallback_of(row.fallback), template=row.template, variables=row.variables or {})


def batch_id(principal: str, items: Sequence[Item], *, new: bool = False) -> str:
    """The name of the batch of these items: the same for the same wishes of the same principal.

    Args:
        new: a name that no batch has.
    """
    content = [principal, [item.arguments for item in items], secrets.token_hex(16) if new else ""]
    return f"batch-{hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]}"
