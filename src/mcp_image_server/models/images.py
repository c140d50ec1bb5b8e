"""Stored pictures, and which of them are wanted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Literal

from .requests import AspectRatio, Size


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
    team: str | None = None
    """With whom its principal shares it."""
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
    shared: bool = False
    """Only those that are shared with a team."""
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

Action = Literal["tag", "untag", "favourite", "unfavourite", "rename", "share", "unshare", "delete", "undelete"]
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
