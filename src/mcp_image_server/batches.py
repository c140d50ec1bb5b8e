"""Many pictures asked for at once: what a list of rows means, what it would cost, and what became of it.

A batch is a set of jobs that were entered together. Each item is an ordinary job in line, so limits, turns, crashes and money are looked after as for any other.
The id of a batch follows from who asks for what, and the key of each job from the batch and the item: the same batch begun again finds the same jobs.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil, sqrt
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from anyio import to_thread
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from .errors import ImageServerError, NotFoundError, RequestError
from .models import Adjustment, Drawn, Headway, Image, ImageRequest, Job, JobState
from .planning import Plan
from .policy.budget import Budgets
from .policy.routing import Address
from .transforming import MODEL, PROVIDER

if TYPE_CHECKING:
    from .history import Order
    from .store import Store

MAX_ITEMS = 5000
"""In one batch."""

MAX_FILE_BYTES = 20_000_000

ENDINGS = (".csv", ".jsonl", ".yaml", ".yml", ".txt")
"""Of the files that rows are read from."""

ReadAddress = Callable[..., Address]
"""`Studio.read_address`."""

Watch = Callable[[Headway], Awaitable[None]]
"""Is told how far a batch has come, whenever something has moved."""


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
    except ValueError:
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
    table = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=heading.count), restkey="", skipinitialspace=True)
    names = {name: name.strip().lower() for name in table.fieldnames or () if name.strip()}
    try:
        for row in table:
            cells = {names.get(name, "a cell without a name"): cell for name, cell in row.items() if cell}
            if cells:
                first = table.line_num - sum(str(cell).count("\n") for cell in cells.values())
                yield Written(place=f"line {first}", value=cells)
    except csv.Error as exc:
        raise unusable([Bad(place=f"line {table.line_num}", message=f"this is no table: {exc}.")]) from exc


def _json_rows(text: str) -> list[Written]:
    rows: list[Written] = []
    bad: list[Bad] = []
    for place, line in _lines(text):
        try:
            rows.append(Written(place=place, value=json.loads(line)))
        except ValueError as error:
            bad.append(Bad(place=place, message=f"this is no JSON: {error}."))
    refuse(bad)
    return rows


def _yaml_rows(text: str) -> list[Written]:
    import yaml

    class Loader(yaml.SafeLoader):
        """With the plain values of YAML 1.2 alone: in 1.1, `16:9` is a number, `no` is false, and a day is no text."""

        yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012 - what the library calls it, and fills below

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
        return [Written(place=f"line {node.start_mark.line + 1}", value=loader.construct_object(node, deep=True)) for node in document.value]
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        place = f"line {mark.line + 1}" if mark else "the file"
        raise unusable([Bad(place=place, message=f"this is no YAML: {getattr(exc, 'problem', None) or exc}.")]) from exc
    finally:
        loader.dispose()


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
    details = {"rows": [{"place": each.place, "message": each.message} for each in found]}
    return RequestError(f"{rows}, and nothing was sent.\n{shown}{more}", code="invalid_rows", details=details)


def refuse(bad: Sequence[Bad]) -> None:
    """Passes when nothing is wrong.

    Raises:
        RequestError: `invalid_rows`.
    """
    if bad:
        raise unusable(bad)


def expand(rows: Iterable[Written], *, models: Sequence[str] = (), n: int = 1) -> list[Item]:
    """One item for each picture: every row, for every model, as many times as wanted.

    With a seed, each further picture of a row has the next one.

    Args:
        models: model ids or `provider/model`, for rows that name neither provider nor model; none: the server's default.
        n: pictures of each, for rows that do not say.

    Raises:
        RequestError: rows that cannot be, all at once (`invalid_rows`).
    """
    items: list[Item] = []
    bad: list[Bad] = []
    copies: dict[PurePath, str] = {}
    total = 0
    for row in rows:
        try:
            arguments = _arguments(row.value)
        except ValidationError as error:
            bad += [Bad(place=row.place, message=_words(problem)) for problem in error.errors(include_url=False)]
            continue
        times = arguments.pop("n", n)
        named = not models or arguments.keys() & {"model", "provider"}
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
    fallback: tuple[str, ...]
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
    polling = {
        "interval": row.poll_interval_seconds,
        "attempts": row.max_poll_attempts,
        "backoff": row.poll_backoff,
        "max_interval": row.max_poll_interval_seconds,
    }
    request = ImageRequest(
        prompt=row.prompt,
        provider=address.provider,
        model=address.model,
        style=address.style,
        shape=address.shape,
        negative_prompt=row.negative_prompt or None,
        file_prefix=row.file_prefix or None,
        background=row.background or None,
        output_format=row.output_format or None,
        output_compression=row.output_compression,
        moderation=row.moderation or None,
        seed=row.seed,
        quality=row.quality or None,
        options=row.options or {},
        polling={name: value for name, value in polling.items() if value is not None},
        save_as=str(PurePath(row.output_dir or "outputs") / row.output_filename) if row.output_filename else None,
    )
    fallback = tuple(name for name in row.fallback.split(",") if name.strip())
    return Wanted(request=request, fallback=fallback, template=row.template, variables=row.variables or {})


def batch_id(principal: str, items: Sequence[Item], *, new: bool = False) -> str:
    """The name of the batch of these items: the same for the same wishes of the same principal.

    Args:
        new: a name that no batch has.
    """
    content = [principal, [item.arguments for item in items], secrets.token_hex(16) if new else ""]
    return f"batch-{hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]}"


# ---------------------------------------------------------------------- money


@dataclass(frozen=True, kw_only=True)
class Bill:
    """What drawing many plans comes to."""

    by_model: Mapping[str, int]
    """Pictures by provider/model."""
    costs: Mapping[str, int]
    """Currency to millionths, by list prices, for those whose price is known."""
    unknown: tuple[str, ...]
    """Models of which nobody knows what they cost."""
    worth: int | None
    """The most it may come to, in millionths of the budgets' currency; None when that is not known."""

    @property
    def pictures(self) -> int:
        """How many are drawn."""
        return sum(self.by_model.values())

    @classmethod
    def of(cls, plans: Sequence[Plan], budgets: Budgets) -> Bill:
        """The sum of these plans."""
        pictures: Counter[str] = Counter()
        costs: Counter[str] = Counter()
        unknown: dict[str, None] = {}
        worths: list[int | None] = []
        for plan in plans:
            pictures[plan.name] += plan.request.count
            if plan.estimate is None:
                unknown[plan.name] = None
            elif plan.estimate.micros:
                costs[plan.estimate.currency] += plan.estimate.micros
            highest = plan.highest(budgets)
            worths.append(budgets.worth(highest) if highest is not None else None)
        known = [worth for worth in worths if worth is not None]
        return cls(by_model=pictures, costs=costs, unknown=tuple(unknown), worth=sum(known) if len(known) == len(worths) else None)


@dataclass(frozen=True, kw_only=True)
class BatchEstimate:
    """What a batch would come to, with nothing sent."""

    bill: Bill
    adjustments: Mapping[Adjustment, int]
    """What would be changed, and for how many items."""
    needs_confirmation: bool
    """The person would be asked first."""
    objection: ImageServerError | None = None
    """Why it would be refused, if it would."""


# ---------------------------------------------------------------------- what became of it


@dataclass(frozen=True, kw_only=True)
class Piece:
    """An item of a batch, and the latest job for it."""

    item: Item
    job: Job
    tries: int
    """Jobs that there were for it."""

    @property
    def prompt(self) -> str:
        """As it was asked for; where a template made it, as it was made."""
        return str(self.item.arguments.get("prompt") or self.job.request.prompt)

    @property
    def has_failed(self) -> bool:
        """Ended without pictures."""
        return self.job.state.ended and self.job.state is not JobState.SUCCEEDED

    @property
    def may_have_been_billed(self) -> bool:
        """It brought nothing and may have cost something."""
        failure = self.job.failure
        return self.has_failed and failure is not None and failure.may_have_been_billed

    def is_wanted_again(self, *, failed: bool, maybe_billed: bool) -> bool:
        """Whether it is among those that are to be entered anew.

        Args:
            failed: those that surely were not billed.
            maybe_billed: those that may have been, and those whose server stopped.
        """
        interrupted = self.job.failure is not None and self.job.failure.code == "interrupted"
        return self.has_failed and ((failed and not self.may_have_been_billed) or (maybe_billed and (self.may_have_been_billed or interrupted)))


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A batch as it stands."""

    id: str
    principal: str
    created_at: datetime
    headway: Headway
    pieces: tuple[Piece, ...]
    """In order."""
    sheet: Image | None = None
    """All its pictures on one, once it has ended."""

    @property
    def state(self) -> Literal["running", "succeeded", "incomplete"]:
        """In a word. `incomplete`: it has ended, and items are without pictures."""
        if not self.headway.ended:
            return "running"
        return "incomplete" if self.headway.failed else "succeeded"

    @property
    def images(self) -> tuple[Image, ...]:
        """Every picture, item by item."""
        return tuple(image for piece in self.pieces for image in piece.job.images)


def assembled(order: Order, jobs: Sequence[Job], headway: Headway, sheet: Image | None) -> Batch:
    """The batch of what the record knows about it.

    Args:
        jobs: item by item, oldest first.
    """
    theirs: list[list[Job]] = [[] for _ in order.items]
    for job in jobs:
        theirs[job.position or 0].append(job)
    pieces = (Piece(item=Item.from_json(data), job=tries[-1], tries=len(tries)) for data, tries in zip(order.items, theirs, strict=True))
    return Batch(id=order.id, principal=order.principal, created_at=order.created_at, headway=headway, pieces=tuple(pieces), sheet=sheet)


def no_batch(batch_id: str) -> NotFoundError:
    """That there is no such batch."""
    words = f"There is no batch {batch_id!r}. Its id is in the answer of the call that began it."
    return NotFoundError(words, code="batch_not_found", details={"batch_id": batch_id})


# ---------------------------------------------------------------------- the contact sheet

MAX_TILES = 400
"""Pictures on one sheet."""

Read = Callable[[Image], Awaitable[bytes]]
"""The bytes of a picture, small."""


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A contact sheet in the store, and the job that stands for the making of it."""

    job: Job
    image: Image


async def draw_sheet(batch: Batch, store: Store, read: Read, *, now: datetime) -> Sheet | None:
    """All pictures of a batch on one, with their numbers; None where there are fewer than two.

    Raises:
        StorageError: it cannot be stored.
    """
    from . import __version__
    from .jobs.work import DECODING, write_picture
    from .pictures import Tile, contact_sheet, process

    shown = [(number, image) for number, piece in enumerate(batch.pieces, 1) for image in piece.job.images]
    if len(shown) < 2:
        return None
    several = len({(image.provider, image.model) for _, image in shown}) > 1
    tiles = []
    for number, image in shown[:MAX_TILES]:
        try:
            data = await read(image)
        except NotFoundError:
            data = b""  # which becomes a crossed square
        tiles.append(Tile(data=data, caption=f"{number} · {image.model if several else image.prompt}"))
    columns = max(4, ceil(sqrt(len(tiles))))
    words = f"Contact sheet of {batch.id}: " + (f"{len(tiles)} pictures" if len(tiles) == len(shown) else f"{len(tiles)} of {len(shown)} pictures")
    facts = {"prompt": words, "software": f"image-gen-mcp-server {__version__}", "digital_source_type": "compositeSynthetic"}
    drawn = await to_thread.run_sync(lambda: contact_sheet(tiles, columns, 256 if columns <= 12 else 160), limiter=DECODING)
    processed = await to_thread.run_sync(process, drawn, facts, limiter=DECODING)
    job = Job(
        id=secrets.token_hex(8),
        principal=batch.principal,
        state=JobState.SUCCEEDED,
        request=ImageRequest(prompt=words, file_prefix="contact_sheet", parents=tuple(image.id for _, image in shown[:MAX_TILES])),
        provider=PROVIDER,
        model=MODEL,
        store_url=store.url,
        progress=1.0,
        created_at=now,
        finished_at=now,
    )
    image, _ = await write_picture(job, 0, Drawn(data=drawn), processed, [store], now)
    return Sheet(job=job, image=image)
