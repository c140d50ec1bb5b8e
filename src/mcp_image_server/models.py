"""The vocabulary: frozen values that every other module speaks in. No I/O, nothing heavy to import."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

MAX_PROMPT_CHARS = 32_000
"""Longest prompt any service we know accepts (OpenAI's limit); a model may allow less."""


class Operation(StrEnum):
    """What is done to make the picture. The first five follow from the request's content; the others are asked for by name."""

    GENERATE = "generate"
    EDIT = "edit"
    """Change the input pictures as the prompt says, or make one new picture of several."""
    INPAINT = "inpaint"
    """Paint anew only what the mask leaves open."""
    OUTPAINT = "outpaint"
    """Paint on beyond the edges."""
    STYLE_TRANSFER = "style_transfer"
    """Draw in the look of `style_image`: the input picture, or the prompt alone."""
    VARIATION = "variation"
    """Another picture like the input."""
    UPSCALE = "upscale"
    REMOVE_BACKGROUND = "remove_background"

    @property
    def needs_prompt(self) -> bool:
        return self in (Operation.GENERATE, Operation.EDIT, Operation.INPAINT)


@dataclass(frozen=True, kw_only=True, order=True)
class Size:
    """Width and height in pixels."""

    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"a size needs at least one pixel each way, not {self.width}x{self.height}")

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"

    @property
    def pixels(self) -> int:
        return self.width * self.height

    @property
    def ratio(self) -> float:
        """Width divided by height."""
        return self.width / self.height


@dataclass(frozen=True, kw_only=True)
class AspectRatio:
    """A shape without a scale, such as 16:9."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}:{self.height}"

    @property
    def ratio(self) -> float:
        return self.width / self.height


Shape = Size | AspectRatio

_TWO_NUMBERS = re.compile(r"^\s*(\d{1,5})\s*([x×*:])\s*(\d{1,5})\s*$", re.IGNORECASE)


def parse_shape(text: str) -> Shape | None:
    """`1024x768`, `1024*768`, `768:1024` or a ratio such as `16:9`; None for `auto` and the empty string.

    Two numbers with a colon are pixels when either exceeds 64 (the smallest edge any service draws), a ratio otherwise.

    Raises:
        ValueError: the text is none of these.
    """
    if text.strip().lower() in ("", "auto"):
        return None
    match = _TWO_NUMBERS.match(text)
    if not match:
        raise ValueError(f"{text!r} is no size; write WIDTHxHEIGHT such as 1024x768, a ratio such as 16:9, or auto")
    width, mark, height = int(match[1]), match[2], int(match[3])
    if not width or not height:
        raise ValueError(f"{text!r} is no size; both numbers must be at least 1")
    if mark == ":" and width <= 64 and height <= 64:
        return AspectRatio(width=width, height=height)
    return Size(width=width, height=height)


@dataclass(frozen=True, kw_only=True)
class Picture:
    """Bytes of one picture on its way in: an input image or a mask, already read and checked."""

    data: bytes = field(repr=False)
    media_type: str
    size: Size
    digest: str = field(default="", compare=False, repr=False)
    """SHA-256 of the bytes, where they are not at hand."""

    @property
    def sha256(self) -> str:
        """Of the bytes, in hexadecimal."""
        return self.digest or hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Edges:
    """Pixels to be added at each edge."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0


@dataclass(frozen=True, kw_only=True)
class ImageRequest:
    """What a caller wants, in our words. `None` means: let the model decide."""

    prompt: str
    original_prompt: str | None = None
    """What the caller wrote, where a chat model made the prompt of it."""
    provider: str | None = None
    model: str | None = None
    negative_prompt: str | None = None
    shape: Shape | None = None
    count: int = 1
    seed: int | None = None
    style: str | None = None
    quality: str | None = None
    background: Literal["transparent", "opaque", "auto"] | None = None
    output_format: str | None = None
    output_compression: int | None = None
    """0–100, for lossy formats."""
    moderation: str | None = None
    action: Operation | None = None
    """What is to be done, where the content does not say it."""
    images: tuple[Picture, ...] = ()
    """Input pictures; where only one can be worked on it is the first, and the others are references."""
    mask: Picture | None = None
    """As large as the first input picture: transparent where it is to be painted anew, opaque where it stays."""
    style_image: Picture | None = None
    extend: Edges | None = None
    strength: float | None = None
    """0–1: how far the result may depart from the first input picture."""
    parents: tuple[str, ...] = ()
    """Ids of the stored pictures among those that go in."""
    file_prefix: str | None = None
    """First part of the stored file's name."""
    save_as: str | None = None
    """Path at which a copy is wanted besides the stored picture. In a job it is absolute and was found to lie in a folder that is open to the caller."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Passed to the service untouched, under the service's own names."""
    polling: Mapping[str, float] = field(default_factory=dict)
    """Bounds on looking at a task, for services that have tasks: `interval` and `max_interval` in seconds, `attempts`, `backoff` (0 or 1)."""

    @property
    def operation(self) -> Operation:
        """What is asked for: by name, else as the content says."""
        if self.action is not None:
            return self.action
        if self.mask is not None:
            return Operation.INPAINT
        if self.extend is not None:
            return Operation.OUTPAINT
        if self.style_image is not None:
            return Operation.STYLE_TRANSFER
        return Operation.EDIT if self.images else Operation.GENERATE

    @property
    def wishes(self) -> dict[str, Any]:
        """The fields in which something is asked for, by name."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in values.items() if value is not None and value not in ("", (), {})}

    @property
    def inputs(self) -> tuple[Picture, ...]:
        """Every picture that goes in."""
        return (*self.images, *(picture for picture in (self.mask, self.style_image) if picture is not None))


@dataclass(frozen=True, kw_only=True)
class SizeList:
    """The model draws exactly these sizes."""

    sizes: tuple[Size, ...]


@dataclass(frozen=True, kw_only=True)
class SizeRange:
    """The model draws any size within these bounds (pixels)."""

    min_edge: int = 1
    max_edge: int
    min_pixels: int = 1
    max_pixels: int
    multiple: int = 1
    max_ratio: float = 100.0
    """Longest edge divided by shortest."""


@dataclass(frozen=True, kw_only=True)
class Price:
    """What one picture costs, as the service published it on a day. A list price to estimate with, not a bill."""

    amount: float
    currency: str
    as_of: date
    per: Literal["image", "megapixel"] = "image"
    """What the amount is for; a megapixel is a million pixels."""
    factors: Mapping[str, float] = field(default_factory=dict)
    """By what a quality changes the amount; one that is not named leaves it."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """One model of one service and the facts about it. The defaults describe the least any service offers, so an unknown id can be tried."""

    provider: str
    id: str
    title: str = ""
    aliases: tuple[str, ...] = ()
    operations: frozenset[Operation] = frozenset({Operation.GENERATE})
    sizes: SizeList | SizeRange | None = None
    """None: the service takes no size, or we do not know which; a wish is passed on as written."""
    default_size: Size | None = None
    max_count: int = 1
    max_prompt_chars: int = MAX_PROMPT_CHARS
    seed: bool = False
    seed_is_free: bool = True
    """Naming a seed changes nothing else. Where it does (the service then leaves the prompt as it is), none is chosen for a caller who named none."""
    negative_prompt: bool = False
    styles: frozenset[str] = frozenset()
    """Style keys the service understands itself; any other style is written into the prompt."""
    qualities: tuple[str, ...] = ()
    backgrounds: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    """Output formats the caller may choose among: png, jpeg, webp. Empty: the service decides."""
    compression: frozenset[str] = frozenset()
    """Formats whose compression can be set."""
    moderation: tuple[str, ...] = ()
    max_images: int = 0
    """Input pictures it takes at once, without mask and style image."""
    mask: bool = False
    strength: bool = False
    languages: frozenset[str] = frozenset({"en"})
    """Languages (ISO 639-1) in which a prompt is understood as well as in English."""
    writes: frozenset[str] = frozenset()
    """Scripts that it letters legibly inside pictures, as the vendor says: `latin`, `han`."""
    previews: bool = False
    polled: bool = False
    """The service works on tasks that we look at now and then, and how often can be set."""
    price: Price | None = None
    ends: date | None = None
    """The day the service switches it off, where announced."""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What an account at a service may have. `None`: as much as it likes."""

    concurrent: int = 4
    """Jobs under way at once."""
    per_second: float | None = None
    """Jobs begun in a second."""
    images_per_minute: int | None = None


@dataclass(frozen=True, kw_only=True)
class Adjustment:
    """One thing we changed so that the request fits the model; every change reaches the caller as words."""

    field: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """One picture as a service returned it, not yet checked or stored."""

    data: bytes = field(repr=False)
    seed: int | None = None
    revised_prompt: str | None = None


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Money in millionths of a currency unit, so that sums stay exact."""

    micros: int
    currency: str
    source: Literal["reported", "computed", "list_price", "possible"]
    """reported: the service named the amount; computed: from the usage it reported; list_price: from our table; possible: the list price of work
    that brought nothing and may have been billed all the same."""


@dataclass(frozen=True, kw_only=True)
class Spending:
    """What was spent, and what is promised to jobs under way: currency to millionths, of everybody and of one principal."""

    day: Mapping[str, int] = field(default_factory=dict)
    month: Mapping[str, int] = field(default_factory=dict)
    principal_day: Mapping[str, int] = field(default_factory=dict)
    principal_month: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Generated:
    """What a service returned for one job."""

    images: tuple[Drawn, ...]
    cost: Cost | None = None
    request_id: str | None = None
    model: str | None = None
    """Who drew, where it was not the model that was asked."""
    adjustments: tuple[Adjustment, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Image:
    """One stored picture. `key` is its name in the store at `store_url`; the bytes are never in the record."""

    id: str
    job_id: str
    principal: str
    provider: str
    model: str
    prompt: str
    store_url: str
    key: str
    thumbnail_key: str | None
    media_type: str
    size: Size
    size_bytes: int
    sha256: str
    thumbhash: str
    """Base64 of a 25-byte placeholder (https://evanw.github.io/thumbhash/)."""
    seed: int | None = None
    revised_prompt: str | None = None
    parents: tuple[str, ...] = ()
    """Ids of the images this one was made from."""
    created_at: datetime
    title: str = ""
    tags: tuple[str, ...] = ()
    """In alphabetical order."""
    favourite: bool = False
    deleted_at: datetime | None = None
    """Since when it is in the trash."""


@dataclass(frozen=True, kw_only=True)
class ImageFilter:
    """Which images are wanted. `None` and what is empty: any."""

    provider: str | None = None
    model: str | None = None
    tags: tuple[str, ...] = ()
    """All of them."""
    favourite: bool = False
    """Only favourites."""
    since: datetime | None = None
    until: datetime | None = None
    """Made before that moment."""
    min_edge: int | None = None
    """Both edges are at least so many pixels."""
    ratio: AspectRatio | None = None
    """Width to height, give or take 3 per cent."""
    cost_from: int | None = None
    """The job cost so many millionths or more, in the currency in which it was billed."""
    cost_to: int | None = None
    made_from: str | None = None
    """Id of an image that they were made from."""
    deleted: bool = False
    """What is in the trash, in the place of what is not."""


ANY = ImageFilter()
"""Every image that is not in the trash."""

Action = Literal["tag", "untag", "favourite", "unfavourite", "rename", "delete", "undelete"]
"""What can be done to stored images."""


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """An image, what it was made from and what was made from it; of both, those that are still there, nearest first."""

    image: Image
    ancestors: tuple[Image, ...] = ()
    descendants: tuple[Image, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Tally:
    """How many pictures, and what was spent: currency to millionths. What was deleted since is counted as spent only."""

    pictures: int = 0
    size_bytes: int = 0
    spent: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Pictures and money, in all and by what they are due to."""

    total: Tally
    providers: Mapping[str, Tally]
    models: Mapping[str, Tally]
    """By provider/model."""
    days: Mapping[date, Tally]
    """In UTC, latest first."""
    favourites: int = 0
    deleted: int = 0
    """In the trash."""


class JobState(StrEnum):
    """How far a job has come: from queued to running to one of the ends. Back in line only while no service has accepted it."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    """Its deadline passed."""

    @property
    def ended(self) -> bool:
        return self not in (JobState.QUEUED, JobState.RUNNING)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a job failed, in the words of `errors`."""

    code: str
    message: str
    retryable: bool = False
    may_have_been_billed: bool = False
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Offer:
    """Who would draw a request, as which request, and what it would cost."""

    request: ImageRequest
    """Fitted to the model."""
    provider: str
    model: str
    account: str
    adjustments: tuple[Adjustment, ...] = ()
    estimate: Cost | None = None
    """None: nothing is known."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A request under way or ended."""

    id: str
    principal: str
    state: JobState
    request: ImageRequest
    """Already fitted to the model."""
    provider: str
    model: str
    account: str = ""
    """Whose limits count."""
    store_url: str
    alternates: tuple[Offer, ...] = ()
    """Who may draw instead, in order, while nobody has accepted the work."""
    batch_id: str | None = None
    """The batch that it was entered with."""
    position: int | None = None
    """Which item of the batch it draws, from 0."""
    estimate: Cost | None = None
    """What it was expected to cost."""
    adjustments: tuple[Adjustment, ...] = ()
    progress: float = 0.0
    """0 to 1."""
    message: str = ""
    task_id: str | None = None
    """The service's own id, once it has accepted the work."""
    request_id: str | None = None
    """The service's own id of the call that ended the work, for its support desk."""
    attempts: int = 0
    """How often a server has begun to work on it."""
    tries: int = 0
    """How often it went back in line because its service surely had not taken it."""
    images: tuple[Image, ...] = ()
    failure: Failure | None = None
    cost: Cost | None = None
    owner: str | None = None
    """The server process that works on it."""
    created_at: datetime
    deadline: datetime | None = None
    """When it ends, whatever has come of it. None: it waits in line as long as it takes, and its time begins with its work."""
    started_at: datetime | None = None
    finished_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Event:
    """One step of a job's progress; `sequence` counts from 1 within the job, without gaps."""

    job_id: str
    sequence: int
    at: datetime
    progress: float
    message: str
    preview_key: str | None = None
    """Where the store of the job has a picture of the work so far."""


@dataclass(frozen=True, kw_only=True)
class Headway:
    """How far a batch has come: its items by the latest job of each, and its money."""

    items: int
    succeeded: int = 0
    failed: int = 0
    """Ended without pictures."""
    running: int = 0
    progress: float = 0.0
    """0 to 1, over the whole."""
    spent: Mapping[str, int] = field(default_factory=dict)
    """Currency to millionths, as far as it is known, also for jobs that were entered anew since."""
    perhaps: Mapping[str, int] = field(default_factory=dict)
    """The part of it that may not have been billed."""

    @property
    def ended(self) -> bool:
        """Nothing is under way any more."""
        return self.succeeded + self.failed == self.items


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A job in the line of its account."""

    job_id: str
    principal: str
    owner: str | None
    """The server process that will begin it."""
    provider: str
    model: str
    pictures: int
    created_at: datetime
    batched: bool = False
    """Entered together with many."""


@dataclass(frozen=True, kw_only=True)
class Begun:
    """That a job of an account was begun, and how many pictures it asked for."""

    at: datetime
    pictures: int


@dataclass(frozen=True, kw_only=True)
class Breaker:
    """A model that has failed several times in a row, or begins to."""

    provider: str
    model: str
    failures: int = 0
    """In a row."""
    openings: int = 0
    """How often in a row nothing was sent to it for a while."""
    open_until: datetime | None = None
    """Nothing is sent before; afterwards one job tries whether it works again."""


LOCAL = "local"
"""The principal of everything made on a server without identities."""


@dataclass(frozen=True, kw_only=True)
class Client:
    """What the program in front of us said about itself."""

    name: str = ""
    version: str = ""
    protocol_version: str = ""


Ask = Callable[[str], Awaitable[bool]]
"""Puts a question to the person behind the client; true only for a yes."""


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who asks: the first argument of every studio method."""

    principal: str = LOCAL
    roles: frozenset[str] = frozenset({"admin"})
    folders: tuple[Path, ...] = ()
    """Where this caller may let us read and write files, beside the store."""
    client: Client = Client()
    ask: Ask | None = field(default=None, repr=False, compare=False)
    """None where nobody can be asked. May end the call with an exception that is no failure: the call comes again with the answer, so ask before
    anything is begun."""

    @property
    def is_admin(self) -> bool:
        return "admin" in self.roles


@dataclass(frozen=True, kw_only=True)
class Style:
    """A named look."""

    key: str
    label: str
    phrase: str = ""
    """What is written into the prompt for a model that has no such style of its own; empty: nothing, or as somebody else says who knows the style."""
    phrase_zh: str = ""
    """The same for a prompt in Chinese; empty: as for any other."""
    source: Path | None = None
    """The file in which somebody here wrote it; such a style goes before what a service understands by the key."""


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """What one provider offers, for listing and choosing: known without calling it."""

    provider: str
    title: str
    models: tuple[Model, ...]
    default_model: str
    styles: Mapping[str, Style]
    """In the order shown; the first is the provider's default."""
    resolutions: Mapping[str, str]
    """Key to label, in the order shown; the first is the default."""
    variables: tuple[str, ...] = ()
    """Environment variables that switch this provider on; empty: always on."""
    unknown: Model | None = None
    """What may be assumed of an id that the table does not know, where such ids are passed on; None where they are refused."""
    digital_source_type: str = "trainedAlgorithmicMedia"
    """How its pictures come about, in the words of https://cv.iptc.org/newscodes/digitalsourcetype/."""
    attribution: str = ""
    """Credit that the licences of its material ask for."""


def find_model(models: Sequence[Model], name: str) -> Model | None:
    """The model of that id or alias."""
    return next((m for m in models if m.id == name or name in m.aliases), None)
