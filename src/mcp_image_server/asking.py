"""What callers write, as a request."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from .errors import RequestError
from .models import ImageRequest
from .policy.routing import Address

if TYPE_CHECKING:
    from .library import Template


def request_of(address: Address, **wishes: Any) -> ImageRequest:
    """The request of these wishes. What was left empty is as if nothing had been said about it.

    Args:
        address: who is to draw it, in which style and which shape.
        wishes: other fields of `ImageRequest`.
    """
    said = {name: value for name, value in wishes.items() if value is not None and value not in ("", {})}
    return ImageRequest(
        prompt=said.pop("prompt", ""), provider=address.provider, model=address.model, style=address.style, shape=address.shape, **said
    )


def polling_of(*, interval: float | None, attempts: int | None, backoff: bool | None, max_interval: float | None) -> dict[str, float]:
    """Bounds on looking at a task, as a request holds them."""
    said = {"interval": interval, "attempts": attempts, "backoff": backoff, "max_interval": max_interval}
    return {name: value for name, value in said.items() if value is not None}


MAX_FALLBACKS = 20
"""Who may draw instead, in one request."""


def fallback_of(text: str) -> list[str]:
    """Who may draw instead, as people write it: names with commas between them.

    Raises:
        RequestError: they are too many.
    """
    names = [name for name in text.split(",") if name.strip()]
    if len(names) > MAX_FALLBACKS:
        raise RequestError(f"fallback has {len(names):,} names; write at most {MAX_FALLBACKS}.")
    return names


def copy_at(folder: str, name: str) -> str:
    """The path at which a copy is wanted; empty where neither is named. A name alone is one in `outputs`, and a folder alone gets `image.png`."""
    return str(PurePath(folder or "outputs") / (name or "image.png")) if folder or name else ""


def with_template(request: ImageRequest, template: Template, address: Address) -> ImageRequest:
    """The request with the template's words before its own, and as the template says in all that the request leaves open.

    Args:
        template: its gaps filled.
        address: what the template says about who, which style and which size.
    """
    placed = request.provider is not None or request.model is not None
    return replace(
        request,
        prompt=" ".join(words for words in (template.prompt, request.prompt.strip()) if words),
        provider=request.provider if placed else address.provider,
        model=request.model if placed else address.model,
        style=request.style or address.style,
        shape=request.shape or address.shape,
        negative_prompt=request.negative_prompt or template.negative_prompt or None,
        quality=request.quality or template.quality or None,
        background=request.background or template.background or None,
        output_format=request.output_format or template.output_format or None,
    )
