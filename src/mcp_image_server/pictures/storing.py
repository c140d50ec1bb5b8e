"""What is done with a picture before it is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .examining import MAX_PIXELS, Facts, decode, facts
from .provenance import embed
from .thumbnails import EDGE, Thumbnail, thumbnail_of


@dataclass(frozen=True, kw_only=True)
class Processed:
    """A picture ready to be stored: its bytes with provenance, facts about these very bytes, and its thumbnail."""

    data: bytes = field(repr=False)
    facts: Facts
    thumbnail: Thumbnail


def process(data: bytes, provenance: Mapping[str, str] | None = None, *, max_pixels: int = MAX_PIXELS) -> Processed:
    """Everything storing needs, decoding once: `examine`, `thumbnail` and `embed` together. Without a provenance the bytes stay as they are.

    Raises:
        NotAPictureError: see `examine`.
    """
    decoded = decode(data, max_pixels=max_pixels, edge=2 * EDGE)
    final = embed(data, provenance) if provenance else data
    return Processed(data=final, facts=facts(final, decoded), thumbnail=thumbnail_of(decoded))
