"""Pictures on their way in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A picture on its way in."""

    id: str
    principal: str
    name: str
    """What its sender calls it."""
    proof: str
    """Hash of what the link must hold."""
    length: int | None
    """Bytes of the whole, where they were told beforehand."""
    store_url: str
    """Where its pieces lie."""
    created_at: datetime
    expires_at: datetime
    """What is not finished by then is thrown away."""
    pieces: tuple[str, ...] = ()
    """The names of those that are here, in order; each begins with the place of its first byte and `-`."""
    offset: int = 0
    """Bytes that came."""
    held_until: datetime | None = None
    """Somebody sends, or makes an image of it; nobody else may before that moment."""
    image_id: str | None = None
    """The stored image that came of it."""
