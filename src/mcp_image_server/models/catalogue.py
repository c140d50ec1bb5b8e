"""What services offer: facts about models, as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Literal

from .requests import MAX_PROMPT_CHARS, Operation, Size


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
    above: Mapping[int, float] = field(default_factory=dict)
    """By what having more than so many pixels changes it; of those that a picture has, the largest number counts."""


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
    economy: bool = False
    """The service draws it for half the price where it may take a day."""
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
class Style:
    """A named look."""

    key: str
    label: str
    phrase: str = ""
    """What is written into the prompt for a model that has no such style of its own; empty: nothing, or as somebody else says who knows the style."""
    phrase_zh: str = ""
    """The same for a prompt in Chinese; empty: as for any other."""
    source: Path | None = None
    """The file in which somebody here wrote it, or a relative path in its place; such a style goes before what a service understands by the key."""


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
