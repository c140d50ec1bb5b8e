"""Links for those who asked, leading to where they asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request

from ...models import Image
from ...studio import Studio

UPLOAD_LINKS = "/uploads/"
"""Under which the links of uploads lie. Nobody needs a token there: the link itself is the proof."""

_UNSEEN = ("local_path", "save_error", "uri")
"""Facts about an image that say nothing to those who are elsewhere."""


def base_of(studio: Studio, request: Request) -> str:
    """The address of this server: as the operator says, else the one that the request came to, which the gate has looked at."""
    return studio.settings.public_base_url or str(request.base_url).rstrip("/")


def link_of(studio: Studio, request: Request, image: Image) -> str:
    """Where the picture's bytes are, to be opened without a token for a while."""
    return studio.images.link(image) or f"{base_of(studio, request)}{studio.images.page_link(image)}"


def seen_in(studio: Studio, request: Request, images: Sequence[Image], answer: Mapping[str, Any]) -> dict[str, Any]:
    """The answer with its entry `images`, which tells of these, as it is told to somebody elsewhere."""
    told = [seen(studio, request, image, facts) for image, facts in zip(images, answer["images"], strict=True)]
    return {**answer, "images": told}


def seen(studio: Studio, request: Request, image: Image, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts about the image as they are told to somebody elsewhere."""
    return {**{name: value for name, value in facts.items() if name not in _UNSEEN}, "url": link_of(studio, request, image)}
