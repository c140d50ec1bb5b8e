"""What a caller wants."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
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
        """Without words nobody knows what to draw."""
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
        """How many there are."""
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
        """Width divided by height."""
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


MAX_PICTURE_BYTES = 50_000_000
"""Of one picture on its way in: what the most generous service takes."""


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
class Wording:
    """Words as they were asked for, before they were written into one prompt."""

    prompt: str
    style: str | None = None
    negative_prompt: str | None = None


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
    economy: bool = False
    """It may take a day, for half the price."""
    parents: tuple[str, ...] = ()
    """Ids of the stored pictures among those that go in."""
    file_prefix: str | None = None
    """First part of the stored file's name."""
    save_as: str | None = None
    """Path at which a copy is wanted besides the stored picture. In a job it is absolute and was found to lie in a folder that is open to the caller."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Passed to the service untouched, under the service's own names."""
    wording: Wording | None = field(default=None, compare=False)
    """In a fitted request whose style or negative prompt had to be written into the prompt: what was asked for."""
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
    def in_own_words(self) -> ImageRequest:
        """With prompt, style and negative prompt apart, as they were asked for, so that each can be changed by itself."""
        return self if self.wording is None else replace(self, **vars(self.wording), wording=None)

    @property
    def wishes(self) -> dict[str, Any]:
        """The fields in which something is asked for, by name."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in values.items() if value is not None and value is not False and value not in ("", (), {})}

    @property
    def inputs(self) -> tuple[Picture, ...]:
        """Every picture that goes in."""
        return (*self.images, *(picture for picture in (self.mask, self.style_image) if picture is not None))
